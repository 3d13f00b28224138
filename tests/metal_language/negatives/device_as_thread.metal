// Caught: compiler: no matching function for call to 'first'
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_FN float first(KR_THREAD const float* values) {
  return values[0];
}

KR_KERNEL(bad, 32, KR_DEVICE float* y = kr_buffer<float>(params, 0); y[1] = first(y);)
