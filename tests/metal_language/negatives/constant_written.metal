// Caught: compiler: read-only variable is not assignable
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_KERNEL(bad, 32, params.buffers[0] = 0;)
