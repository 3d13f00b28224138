#include "model/synth/random_weights.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "base/units.h"
#include "model/formats/float_bits.h"

namespace krserve::synth {
namespace {

constexpr uint64_t kChunkBytes = 4 * kMiB;
constexpr uint32_t kTableBits = 12;
constexpr uint32_t kScaleBits = 8;
constexpr double kSqrt3 = 1.7320508075688772;

// Draws table entries by `kBits` random bits each.
template <uint32_t kBits>
void draw_from_table(RandomBits random, uint64_t count, const std::vector<uint16_t>& table,
                     const Sink& sink) {
  std::vector<uint16_t> chunk(std::min(count, kChunkBytes / sizeof(uint16_t)));
  uint64_t bits = 0;
  uint32_t left = 0;
  while (count > 0) {
    const uint64_t size = std::min<uint64_t>(count, chunk.size());
    for (uint64_t i = 0; i < size; ++i) {
      if (left < kBits) {
        bits = random.next();
        left = 64;
      }
      chunk[i] = table[bits & ((1u << kBits) - 1)];
      bits >>= kBits;
      left -= kBits;
    }
    sink(chunk.data(), size * sizeof(uint16_t));
    count -= size;
  }
}

// Rounds to 4 significant bits, so that scale * 7.5 is exact in bf16.
double round_scale(double scale) {
  int exponent = 0;
  const double mantissa = std::frexp(scale, &exponent);
  return std::ldexp(std::round(mantissa * 16.0) / 16.0, exponent);
}

}  // namespace

RandomBits::RandomBits(uint64_t seed, std::string_view name) : state_(seed) {
  uint64_t hash = 0xCBF29CE484222325u;  // FNV-1a
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  state_ = next() ^ hash;
}

void random_bf16(RandomBits random, uint64_t count, double mean, double deviation,
                 const Sink& sink) {
  std::vector<uint16_t> table(size_t{1} << kTableBits);
  for (size_t i = 0; i < table.size(); ++i) {
    const double unit = (2.0 * static_cast<double>(i) + 1.0) / static_cast<double>(table.size());
    table[i] = f32_to_bf16(static_cast<float>(mean + deviation * kSqrt3 * (unit - 1.0)));
  }
  draw_from_table<kTableBits>(random, count, table, sink);
}

void random_words(RandomBits random, uint64_t words, const Sink& sink) {
  std::vector<uint64_t> chunk(std::min(ceil_div<uint64_t>(words, 2), kChunkBytes / 8));
  while (words > 0) {
    const uint64_t size = std::min<uint64_t>(words, chunk.size() * 2);
    for (uint64_t i = 0; i < ceil_div<uint64_t>(size, 2); ++i) chunk[i] = random.next();
    sink(chunk.data(), size * sizeof(uint32_t));
    words -= size;
  }
}

void random_scales(RandomBits random, uint64_t groups, uint32_t bits, double deviation, bool biases,
                   const Sink& sink) {
  const double levels = std::ldexp(1.0, static_cast<int>(bits));
  const double mean_scale = deviation / std::sqrt((levels * levels - 1.0) / 12.0);
  std::vector<uint16_t> table(size_t{1} << kScaleBits);
  for (size_t i = 0; i < table.size(); ++i) {
    const double spread = 0.75 + 0.5 * static_cast<double>(i) / static_cast<double>(table.size());
    const double scale = round_scale(mean_scale * spread);
    table[i] = f32_to_bf16(static_cast<float>(biases ? -scale * (levels - 1.0) / 2.0 : scale));
  }
  draw_from_table<kScaleBits>(random, groups, table, sink);
}

}  // namespace krserve::synth
