// Philox4x32-10, a counter-based random generator (Salmon et al., "Parallel random numbers: as easy
// as 1, 2, 3", SC 2011), and products of 64-bit integers.
#pragma once

#include "kernels/dialect/dialect.h"

namespace krserve::kernels::single_source {

// The draw's random number: 53 bits, as the CPU's uniform_draw has them. Key = the seed, block
// counter = (draw, 0, 0, 0), bits = words 1 and 0 of the result.
KR_FN uint64_t random_bits(uint32_t key0, uint32_t key1, uint32_t draw) {
  uint32_t c0 = draw, c1 = 0, c2 = 0, c3 = 0;
  for (uint32_t round = 0; round < 10; ++round) {
    const uint64_t a = static_cast<uint64_t>(0xD2511F53u) * c0;
    const uint64_t b = static_cast<uint64_t>(0xCD9E8D57u) * c2;
    c0 = static_cast<uint32_t>(b >> 32) ^ c1 ^ key0;
    c1 = static_cast<uint32_t>(b);
    c2 = static_cast<uint32_t>(a >> 32) ^ c3 ^ key1;
    c3 = static_cast<uint32_t>(a);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return (static_cast<uint64_t>(c1) << 32 | c0) >> 11;
}

// a * b / 2^shift, rounded down or up; 0 < shift < 64. The result must fit.
KR_FN uint64_t scaled_product(uint64_t a, uint64_t b, uint32_t shift, bool up) {
  const uint64_t mask = 0xffffffffu;
  const uint64_t a0 = a & mask, a1 = a >> 32, b0 = b & mask, b1 = b >> 32;
  const uint64_t low = a0 * b0;
  const uint64_t middle = a1 * b0 + (low >> 32);
  const uint64_t cross = a0 * b1 + (middle & mask);
  const uint64_t high = a1 * b1 + (middle >> 32) + (cross >> 32);
  const uint64_t rest = cross << 32 | (low & mask);
  const uint64_t result = high << (64 - shift) | rest >> shift;
  return result + (up && (rest << (64 - shift)) != 0 ? 1 : 0);
}

}  // namespace krserve::kernels::single_source
