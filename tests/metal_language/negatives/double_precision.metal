// Caught: compiler: use of type 'double' requires
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_KERNEL(bad, 32, double sum = 1; kr_buffer<float>(params, 0)[0] = static_cast<float>(sum);)
