// Caught: compiler: read-only variable is not assignable
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_KERNEL(bad, 32, kr_buffer<const float>(params, 0)[0] = 1.0f;)
