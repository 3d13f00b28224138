// Caught: compiler: pointers to functions are not allowed
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_FN float same(float value) {
  return value;
}

KR_KERNEL(bad, 32, float (*function)(float) = same;
          kr_buffer<float>(params, 0)[0] = function(1.0f);)
