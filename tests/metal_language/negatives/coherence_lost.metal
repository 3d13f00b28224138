// Caught: compiler: with an rvalue of type 'volatile __global float *'
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_KERNEL(bad, 32, KR_COHERENT float* partials = kr_coherent(kr_buffer<float>(params, 0));
          KR_DEVICE float* mine = partials + self.lane; *mine = 1.0f;)
