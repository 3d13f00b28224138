// Caught: compiler: call to 'simd_max' is ambiguous
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_KERNEL(bad, 32, kr_buffer<uint64_t>(params, 0)[0] = simd_max(params.buffers[1]);)
