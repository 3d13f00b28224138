// Caught: space: second
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_FN const float* second(KR_DEVICE const float* values) {
  return values + 1;
}

KR_KERNEL(bad, 32, kr_buffer<float>(params, 1)[0] = *second(kr_buffer<float>(params, 0));)
