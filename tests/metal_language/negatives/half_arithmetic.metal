// Caught: compiler: invalid operands to binary expression
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_KERNEL(bad, 32, kr_buffer<float>(params, 1)[0] = kr_buffer<kr_half>(params, 0)[0] * 2.0f;)
