// Caught: compiler: 'default new' is not supported
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_KERNEL(bad, 32, kr_buffer<float>(params, 0)[0] = *new float;)
