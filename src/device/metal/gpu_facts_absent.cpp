// In the place of gpu_facts.cpp where the Metal back end is not built.
#include "device/gpu_facts.h"

namespace krserve {

std::optional<GpuFacts> metal_gpu_facts() {
  return std::nullopt;
}

}  // namespace krserve
