// Caught: space: at
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_KERNEL(bad, 32, float* at = kr_buffer<float>(params, 0) + self.lane; *at = 1.0f;)
