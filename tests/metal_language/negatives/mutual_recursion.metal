// Caught: recursion: is_odd
#include "kernels/dialect/dialect.h"

using namespace krserve::kernels;

template <uint32_t kStep>
KR_FN bool is_odd(uint32_t n);
template <uint32_t kStep>
KR_FN bool is_even(uint32_t n) {
  return n == 0 || is_odd<kStep>(n - kStep);
}
template <uint32_t kStep>
KR_FN bool is_odd(uint32_t n) {
  return n != 0 && is_even<kStep>(n - kStep);
}

KR_KERNEL(bad, 32, kr_buffer<uint32_t>(params, 0)[0] = is_odd<1>(self.lane) ? 1 : 0;)
