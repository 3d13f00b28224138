// Caught: compiler: non-kernel function variable cannot be declared in local address space
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_FN void helper() {
  KR_SHARED(float, part, 32);
  part[0] = 1.0f;
}

KR_KERNEL(bad, 32, helper();)
