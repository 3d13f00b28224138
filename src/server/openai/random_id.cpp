#include "server/openai/random_id.h"

#include <cstdint>
#include <random>
#include <string_view>

namespace krserve::server {

std::string random_hex(int bytes) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  thread_local std::mt19937_64 generator = [] {
    std::random_device device;
    std::seed_seq seed{device(), device(), device(), device()};
    return std::mt19937_64(seed);
  }();
  std::string text;
  text.reserve(static_cast<size_t>(bytes) * 2);
  for (int i = 0; i < bytes; ++i) {
    const uint64_t value = generator();
    text += kDigits[(value >> 4) & 15];
    text += kDigits[value & 15];
  }
  return text;
}

}  // namespace krserve::server
