// Caught: compiler: static local variable must reside in constant address space
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_KERNEL(bad, 32, static uint32_t launches = 0; kr_buffer<uint32_t>(params, 0)[0] = ++launches;)
