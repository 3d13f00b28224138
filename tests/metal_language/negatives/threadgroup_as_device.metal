// Caught: compiler: no matching function for call to 'first'
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_FN float first(KR_DEVICE const float* values) {
  return values[0];
}

KR_KERNEL(bad, 32, KR_SHARED(float, part, 32); part[self.lane] = 1.0f;
          kr_buffer<float>(params, 0)[0] = first(part);)
