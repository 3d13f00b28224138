#include "model/formats/affine.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cmath>

namespace krserve {
namespace {

constexpr uint32_t kWordBits = 32;
constexpr uint32_t kMaxGroup = 128;
constexpr float kLeastScale = 1e-7f;
// Adding 2^23 leaves the nearest integer, ties to even, in the low bits of the mantissa.
constexpr float kRounder = 8388608.0f;

struct Line {
  float scale = 0;
  float bias = 0;
};

Line fit(std::span<const float> group, float levels) {
  const auto [low_at, high_at] = std::minmax_element(group.begin(), group.end());
  const float low = *low_at;
  const float high = *high_at;
  const bool from_low = std::abs(low) > std::abs(high);
  const float step = std::max((high - low) / levels, kLeastScale);
  const float scale = from_low ? step : -step;
  const float edge = from_low ? low : high;
  const float count = std::nearbyint(edge / scale);
  if (count == 0) return {scale, 0};
  return {edge / count, edge};
}

}  // namespace

void quantize_row(std::span<const float> row, const Quantization& quantization,
                  std::span<uint32_t> words, std::span<float> scales, std::span<float> biases) {
  const uint32_t size = quantization.group_size;
  const uint32_t bits = quantization.bits;
  const uint32_t per_word = kWordBits / bits;
  const auto levels = static_cast<float>((1u << bits) - 1);
  assert(size <= kMaxGroup && row.size() % size == 0);
  assert(words.size() == row.size() / per_word && scales.size() == row.size() / size);
  std::array<uint32_t, kMaxGroup> integers{};
  for (size_t g = 0; g < scales.size(); ++g) {
    const auto group = row.subspan(g * size, size);
    const auto [scale, bias] = fit(group, levels);
    scales[g] = scale;
    biases[g] = bias;
    for (uint32_t i = 0; i < size; ++i) {
      const float level = (group[i] - bias) / scale;
      const float inside = std::min(std::max(level, 0.0f), levels);
      integers[i] = std::bit_cast<uint32_t>(inside + kRounder) & 0xFFu;
    }
    const auto out = words.subspan(g * (size / per_word), size / per_word);
    for (uint32_t w = 0; w < out.size(); ++w) {
      uint32_t word = 0;
      for (uint32_t i = 0; i < per_word; ++i) word |= integers[w * per_word + i] << (i * bits);
      out[w] = word;
    }
  }
}

}  // namespace krserve
