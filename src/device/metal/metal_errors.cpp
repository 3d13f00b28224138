#include "device/metal/metal_errors.h"

#include <fmt/format.h>

#include <string_view>

#include "device/metal/api/types.h"

namespace krserve {
namespace {

using metal::MTL4CommandQueueError;
using metal::MTLCommandBufferError;

// What the driver adds tells more than the code: two different ends are both "timeout".
MetalFault fault_in_words(std::string_view description) {
  const auto says = [&](const char* words) {
    return description.find(words) != std::string_view::npos;
  };
  if (says("Impacting Interactivity") || says("ImpactingInteractivity")) {
    return MetalFault::kInteractivity;
  }
  if (says("Innocent Victim") || says("InnocentVictim")) return MetalFault::kInnocentVictim;
  if (says("Insufficient Memory") || says("OutOfMemory")) return MetalFault::kOutOfMemory;
  return MetalFault::kNone;
}

MetalFault fault_of_metal3(metal::NSInteger code) {
  switch (static_cast<MTLCommandBufferError>(code)) {
    case MTLCommandBufferError::kOutOfMemory:
      return MetalFault::kOutOfMemory;
    case MTLCommandBufferError::kTimeout:
      return MetalFault::kTimeout;
    case MTLCommandBufferError::kPageFault:
    case MTLCommandBufferError::kInvalidResource:
      return MetalFault::kPageFault;
    case MTLCommandBufferError::kNotPermitted:
    case MTLCommandBufferError::kAccessRevoked:
      return MetalFault::kNotPermitted;
    case MTLCommandBufferError::kDeviceRemoved:
      return MetalFault::kDeviceRemoved;
    default:
      return MetalFault::kOther;
  }
}

MetalFault fault_of_metal4(metal::NSInteger code) {
  switch (static_cast<MTL4CommandQueueError>(code)) {
    case MTL4CommandQueueError::kOutOfMemory:
      return MetalFault::kOutOfMemory;
    case MTL4CommandQueueError::kTimeout:
      return MetalFault::kTimeout;
    case MTL4CommandQueueError::kNotPermitted:
    case MTL4CommandQueueError::kAccessRevoked:
      return MetalFault::kNotPermitted;
    case MTL4CommandQueueError::kDeviceRemoved:
      return MetalFault::kDeviceRemoved;
    default:
      return MetalFault::kOther;
  }
}

}  // namespace

MetalFault metal_fault(const metal::NSError* error) {
  if (!error) return MetalFault::kNone;
  for (const metal::NSError* one = error; one; one = one->underlying()) {
    const MetalFault told = fault_in_words(one->localized_description()->text());
    if (told != MetalFault::kNone) return told;
  }
  const std::string domain = error->domain()->text();
  if (domain == "MTL4CommandQueueErrorDomain") return fault_of_metal4(error->code());
  if (domain == "MTLCommandBufferErrorDomain") return fault_of_metal3(error->code());
  return MetalFault::kOther;
}

std::string metal_error_text(const metal::NSError* error) {
  if (!error) return {};
  std::string text = fmt::format("{} {}: {}", error->domain()->text(), error->code(),
                                 error->localized_description()->text());
  const metal::NSError* const cause = error->underlying();
  return cause ? fmt::format("{} ({})", text, metal_error_text(cause)) : text;
}

const char* metal_fault_name(MetalFault fault) {
  switch (fault) {
    case MetalFault::kNone:
      return "no error";
    case MetalFault::kOutOfMemory:
      return "out of memory";
    case MetalFault::kTimeout:
      return "the GPU took too long";
    case MetalFault::kInteractivity:
      return "ended by the system, as the display waited for it";
    case MetalFault::kInnocentVictim:
      return "ended by the fault of other work on the GPU";
    case MetalFault::kPageFault:
      return "an address that is not resident";
    case MetalFault::kNotPermitted:
      return "the system does not let this process use the GPU";
    case MetalFault::kDeviceRemoved:
      return "the GPU is gone";
    case MetalFault::kOther:
      return "failed";
  }
  return "?";
}

const char* metal_fault_remedy(MetalFault fault) {
  switch (fault) {
    case MetalFault::kOutOfMemory:
      return "lower memory.limit_mb or the KV cache, or end other programs";
    case MetalFault::kTimeout:
    case MetalFault::kInteractivity:
      return "shorter command buffers follow by themselves; lower engine.prefill_chunk_tokens if "
             "it "
             "happens again";
    case MetalFault::kInnocentVictim:
      return "nothing to do: the work is taken up again";
    case MetalFault::kNotPermitted:
      return "run it in the foreground, in a session of its own user";
    case MetalFault::kDeviceRemoved:
      return "restart this process";
    default:
      return "report it with the output of krserve metal-selftest";
  }
}

}  // namespace krserve
