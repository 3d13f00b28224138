// Caught: compiler: constexpr if is incompatible with C++ standards before C++17
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

template <uint32_t kCount>
KR_FN float first(KR_DEVICE const float* values) {
  if constexpr (kCount == 0) return 0.0f;
  return values[0];
}

KR_KERNEL(bad, 32, KR_DEVICE float* y = kr_buffer<float>(params, 0); y[1] = first<2>(y);)
