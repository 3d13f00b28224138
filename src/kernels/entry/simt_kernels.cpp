#include "kernels/entry/simt_kernels.h"

#include "kernels/entry/metal_kernels.h"

namespace krserve::kernels {

const void* simt_dialect_kernel(single_source::KernelId id) {
  return simt_metal_kernel(static_cast<uint32_t>(id));
}

const void* simt_metal_kernel(uint32_t number) {
#define KR_HANDLE(name) &name
  static constexpr const SimtKernel* kHandles[] = {KR_ALL_METAL_KERNELS};
#undef KR_HANDLE
  static_assert(sizeof(kHandles) / sizeof(kHandles[0]) == tuned_metal::kMetalKernelCount);
  return kHandles[number];
}

}  // namespace krserve::kernels
