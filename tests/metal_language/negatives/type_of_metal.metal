// Caught: compiler: cannot combine with previous 'type-name' declaration specifier
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_KERNEL(bad, 32, uint32_t half = self.lane; kr_buffer<uint32_t>(params, 0)[0] = half;)
