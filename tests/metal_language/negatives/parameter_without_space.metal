// Caught: space: values
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_FN float first(const float* values) {
  return values[0];
}

KR_KERNEL(bad, 32, kr_buffer<float>(params, 1)[0] = first(kr_buffer<float>(params, 0));)
