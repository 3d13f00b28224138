// Caught: recursion: factorial
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

static uint32_t factorial(uint32_t n) {
  return n < 2 ? 1 : n * factorial(n - 1);
}

KR_KERNEL(bad, 32, kr_buffer<uint32_t>(params, 0)[0] = factorial(self.lane);)
