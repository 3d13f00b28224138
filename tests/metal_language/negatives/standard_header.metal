// Caught: compiler: 'vector' file not found
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

#include <vector>

KR_KERNEL(bad, 32, kr_buffer<uint32_t>(params, 0)[0] = 1;)
