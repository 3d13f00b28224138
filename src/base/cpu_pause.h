// Tells the processor that this is a waiting loop: less power, and the sibling thread goes faster.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace krserve {

inline void cpu_pause() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace krserve
