#include "kernels/entry/cuda_kernels.h"
#include "kernels/entry/kernels.h"

namespace krserve::kernels {

const void* cuda_dialect_kernel(single_source::KernelId id) {
  using namespace single_source;
#define KR_HANDLE(name) reinterpret_cast<const void*>(name)
  static const void* const kHandles[] = {KR_ALL_KERNELS};
#undef KR_HANDLE
  static_assert(sizeof(kHandles) / sizeof(kHandles[0]) == kKernelCount);
  return kHandles[static_cast<uint32_t>(id)];
}

}  // namespace krserve::kernels
