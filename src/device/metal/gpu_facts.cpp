#include "device/gpu_facts.h"

#include "device/metal/api/device.h"

namespace krserve {
namespace {

using metal::MTLGPUFamily;

uint32_t apple_family(metal::MTLDevice& device) {
  constexpr MTLGPUFamily kNewestFirst[] = {MTLGPUFamily::kApple10, MTLGPUFamily::kApple9,
                                           MTLGPUFamily::kApple8, MTLGPUFamily::kApple7};
  for (const MTLGPUFamily family : kNewestFirst) {
    constexpr auto kBase = static_cast<uint32_t>(MTLGPUFamily::kApple7) - 7;
    if (device.supports(family)) return static_cast<uint32_t>(family) - kBase;
  }
  return 0;
}

}  // namespace

std::optional<GpuFacts> metal_gpu_facts() {
  const metal::AutoreleaseScope scope;
  const metal::Owned<metal::MTLDevice> device(MTLCreateSystemDefaultDevice());
  if (!device) return std::nullopt;
  GpuFacts facts;
  facts.name = device->name()->text();
  facts.apple_family = apple_family(*device.get());
  facts.metal3 = device->supports(MTLGPUFamily::kMetal3);
  facts.metal4 = device->has_metal4();
  facts.working_set_bytes = device->recommended_max_working_set_size();
  facts.max_buffer_bytes = device->max_buffer_length();
  return facts;
}

}  // namespace krserve
