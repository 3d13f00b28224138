// Caught: compiler: no matching function for call to 'kr_matrix_load'
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_KERNEL(bad, 32, kr_matrix8x8 a; kr_matrix_load(a, kr_buffer<float>(params, 0), 8, false);)
