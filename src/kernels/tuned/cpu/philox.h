// Philox4x32-10, a counter-based random generator (Salmon et al., "Parallel random numbers: as easy
// as 1, 2, 3", SC 2011).
#pragma once

#include "kernels/tuned/cpu/vec.h"

namespace krserve::kernels::KR_CPU_ISA {

struct PhiloxBlock {
  uint32_t word[4];
};

inline PhiloxBlock philox(PhiloxBlock counter, uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53u} * counter.word[0];
    const uint64_t b = uint64_t{0xCD9E8D57u} * counter.word[2];
    counter = {{static_cast<uint32_t>(b >> 32) ^ counter.word[1] ^ key0, static_cast<uint32_t>(b),
                static_cast<uint32_t>(a >> 32) ^ counter.word[3] ^ key1, static_cast<uint32_t>(a)}};
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return counter;
}

// The draw's uniform number in [0, 1), 53 bits: key = (seed low, seed high), block counter =
// (draw, 0, 0, 0), bits = words 1 and 0 of the result.
inline double uniform_draw(uint32_t seed_low, uint32_t seed_high, uint32_t draw) {
  const PhiloxBlock random = philox({{draw, 0, 0, 0}}, seed_low, seed_high);
  const uint64_t bits = uint64_t{random.word[1]} << 32 | random.word[0];
  return static_cast<double>(bits >> 11) * 0x1p-53;
}

}  // namespace krserve::kernels::KR_CPU_ISA
