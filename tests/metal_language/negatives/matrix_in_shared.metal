// Caught: compiler: no matching function for call to 'kr_matrix_fill'
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

KR_KERNEL(bad, 32, KR_SHARED(kr_matrix8x8, matrices, 4); kr_matrix_fill(matrices[0], 1.0f);)
