// Byte and time units, and the formatting of both for people.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace krserve {

inline constexpr uint64_t kKiB = 1024;
inline constexpr uint64_t kMiB = 1024 * kKiB;
inline constexpr uint64_t kGiB = 1024 * kMiB;

// "96.0 MiB", "7.95 GiB", "512 B".
std::string format_bytes(uint64_t bytes);

// Nanoseconds on the host's monotonic clock.
inline uint64_t now_ns() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::steady_clock::now().time_since_epoch())
                                   .count());
}

template <class T>
constexpr T ceil_div(T a, T b) {
  return (a + b - 1) / b;
}

// `alignment` is a power of two.
constexpr uint64_t align_up(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

}  // namespace krserve
