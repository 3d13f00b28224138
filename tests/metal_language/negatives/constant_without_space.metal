// Caught: compiler: program scope variable must reside in constant address space
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

constexpr uint32_t kWords = 4;

KR_KERNEL(bad, 32, kr_buffer<uint32_t>(params, 0)[0] = kWords;)
