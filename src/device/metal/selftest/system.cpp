// The system and the device in their own words, and which path the device would take.
#include <fmt/format.h>

#include "base/error.h"
#include "base/units.h"
#include "device/metal/metal_device.h"
#include "device/metal/selftest/common.h"
#include "device/metal_checks.h"

namespace krserve {
namespace {

std::string families(metal::MTLDevice& device) {
  using metal::MTLGPUFamily;
  struct Family {
    MTLGPUFamily family;
    const char* name;
  };
  constexpr Family kAll[] = {
      {MTLGPUFamily::kApple7, "Apple7"}, {MTLGPUFamily::kApple8, "Apple8"},
      {MTLGPUFamily::kApple9, "Apple9"}, {MTLGPUFamily::kApple10, "Apple10"},
      {MTLGPUFamily::kMetal3, "Metal3"}, {MTLGPUFamily::kMetal4, "Metal4"},
  };
  std::string out;
  for (const Family& one : kAll) {
    if (device.supports(one.family)) out += fmt::format("{}{}", out.empty() ? "" : " ", one.name);
  }
  return out;
}

std::string path_text(metal::MTLDevice& device, MetalPath path) {
  const bool has = device.has_metal4();
  if (path == MetalPath::kMetal3) return "Metal 3, as asked";
  if (path == MetalPath::kMetal4) return has ? "Metal 4, as asked" : "Metal 4 asked, not there";
  if (has) return "Metal 4: the system and the device have it";
  if (device.responds_to(metal::msg::NewCommandQueue4::kSelector)) {
    return "Metal 3: the device has no Metal 4";
  }
  return "Metal 3: the system has no Metal 4, which came with macOS 26";
}

}  // namespace

int macos_version() {
  for (const int major : {26, 15}) {
    if (metal::NSProcessInfo::get()->system_is_at_least({major, 0, 0})) return major;
  }
  return kOldestMacos;
}

metal::Owned<metal::MTLDevice> system_metal_device() {
  return metal::Owned<metal::MTLDevice>(MTLCreateSystemDefaultDevice());
}

void require_metal() {
  if (const std::string reason = metal_missing_reason(); !reason.empty()) {
    throw_error<DeviceError>("metal_selftest.open", "{}", reason);
  }
}

void check_metal_system(CheckLog& log, MetalPath path) {
  require_metal();
  const metal::AutoreleaseScope scope;
  log.fact("system", metal::NSProcessInfo::get()->system_version_text()->text());
  const metal::Owned<metal::MTLDevice> device = system_metal_device();
  log.fact("device", device->name()->text());
  if (const metal::MTLArchitecture* const architecture = device->architecture()) {
    log.fact("architecture", architecture->name()->text());
  }
  log.fact("families", families(*device.get()));
  log.fact("unified memory", device->has_unified_memory() ? "yes" : "no");
  log.fact("recommendedMaxWorkingSetSize",
           format_bytes(device->recommended_max_working_set_size()));
  log.fact("maxBufferLength", format_bytes(device->max_buffer_length()));
  log.fact("maxThreadgroupMemoryLength", format_bytes(device->max_threadgroup_memory_length()));
  const auto heap = device->heap_buffer_size_and_align(
      1000, metal::MTLResourceOptions::kHazardTrackingModeUntracked);
  log.fact("1000 bytes in a heap", fmt::format("{} bytes, aligned to {}", heap.size, heap.align));
  log.fact("path", path_text(*device.get(), path));
}

}  // namespace krserve
