// Caught: compiler: with an lvalue of type '__constant uint64_t[16]'
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_KERNEL(bad, 32, KR_DEVICE const uint64_t* addresses = params.buffers;
          kr_buffer<uint64_t>(params, 0)[0] = addresses[1];)
