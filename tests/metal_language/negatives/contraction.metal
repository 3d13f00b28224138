// Caught: contraction: bad may round a product and a sum at once
#include "kernels/dialect/dialect.h"

#pragma STDC FP_CONTRACT ON
using namespace krserve::kernels;

KR_KERNEL(bad, 32, KR_DEVICE float* y = kr_buffer<float>(params, 0); y[0] += y[1] * y[2];)
