// Caught: compiler: can only be declared in the outermost scope of a kernel function
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_KERNEL(
    bad, 32, if (self.lane == 0) {
      KR_SHARED(float, part, 32);
      part[0] = 1.0f;
    })
