// Caught: compiler: expected unqualified-id
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_KERNEL(bad, 32, uint32_t vertex = self.lane; kr_buffer<uint32_t>(params, 0)[0] = vertex;)
