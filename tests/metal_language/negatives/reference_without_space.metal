// Caught: space: sum
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_FN void add(float& sum, float value) {
  sum += value;
}

KR_KERNEL(bad, 32, float sum = 0.0f; add(sum, 2.0f); kr_buffer<float>(params, 0)[0] = sum;)
