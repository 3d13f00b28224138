#include "device/metal/metal_facts.h"

#include "base/error.h"

namespace krserve {

MetalFacts read_metal_facts(metal::MTLDevice& device, MetalPath path) {
  const metal::AutoreleaseScope scope;
  MetalFacts facts;
  facts.working_set_bytes = device.recommended_max_working_set_size();
  facts.max_buffer_bytes = device.max_buffer_length();
  facts.metal4 = path != MetalPath::kMetal3 && device.has_metal4();
  if (path == MetalPath::kMetal4 && !facts.metal4) {
    throw_error<DeviceError>("device.open",
                             "{} has no Metal 4, which needs macOS 26 and an M1 or later; use the "
                             "Metal 3 path",
                             device.name()->text());
  }
  facts.residency_sets = device.responds_to(metal::msg::NewResidencySet::kSelector);
  const auto options = metal::make_object<metal::MTLCompileOptions>();
  facts.math_modes = options->responds_to(metal::msg::SetMathMode::kSelector);
  facts.gpu.language =
      facts.math_modes ? kernels::metal::kHandOverLanguage : kernels::metal::kOldestLanguage;
  facts.gpu.matrices = device.supports(metal::MTLGPUFamily::kApple7);
  facts.name = fmt::format("{} (Metal {})", device.name()->text(), facts.metal4 ? 4 : 3);
  return facts;
}

}  // namespace krserve
