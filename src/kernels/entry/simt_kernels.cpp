#include "kernels/entry/simt_kernels.h"

#include "kernels/entry/kernels.h"

namespace krserve::kernels {

const void* simt_dialect_kernel(single_source::KernelId id) {
  using namespace single_source;
#define KR_HANDLE(name) &name
  static constexpr const SimtKernel* kHandles[] = {KR_ALL_KERNELS};
#undef KR_HANDLE
  static_assert(sizeof(kHandles) / sizeof(kHandles[0]) == kKernelCount);
  return kHandles[static_cast<uint32_t>(id)];
}

}  // namespace krserve::kernels
