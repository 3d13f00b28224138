// Caught: space: Floats
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

using Floats = const float*;

KR_KERNEL(bad, 32, kr_buffer<float>(params, 1)[0] = *Floats(kr_buffer<float>(params, 0));)
