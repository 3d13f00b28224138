// Caught: space: cast
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_KERNEL(bad, 32, KR_DEVICE float* y = kr_buffer<float>(params, 0);
          y[0] = *reinterpret_cast<const float*>(y + 1);)
