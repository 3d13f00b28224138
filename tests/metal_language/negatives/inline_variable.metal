// Caught: compiler: inline variables are incompatible with C++ standards before C++17
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

inline KR_CONST uint32_t kOne = 1;

KR_KERNEL(bad, 32, kr_buffer<uint32_t>(params, 0)[0] = kOne;)
