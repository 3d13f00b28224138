#include "kernels/kernel_test.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace krserve::kernels {

using ops::FloatType;
using ops::WeightFormat;

float half_to_float(uint16_t half) {
  const int exponent = half >> 10 & 31;
  const int mantissa = half & 1023;
  double value = 0;
  if (exponent == 31) {
    value = mantissa != 0 ? std::numeric_limits<double>::quiet_NaN()
                          : std::numeric_limits<double>::infinity();
  } else if (exponent == 0) {
    value = std::ldexp(mantissa, -24);
  } else {
    value = std::ldexp(1024 + mantissa, exponent - 25);
  }
  return static_cast<float>((half & 0x8000) != 0 ? -value : value);
}

uint16_t float_to_half(float value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const double magnitude = std::fabs(static_cast<double>(value));
  if (std::isnan(value)) return static_cast<uint16_t>(sign | 0x7e00);
  if (magnitude == 0) return sign;
  if (magnitude >= 65520.0) return static_cast<uint16_t>(sign | 0x7c00);
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  const int unit = std::max(exponent - 11, -24);  // exponent of the last bit
  const double units = std::nearbyint(std::ldexp(magnitude, -unit));
  // Whole units above 2^10 carry into the exponent by themselves.
  return static_cast<uint16_t>(sign | (static_cast<int>(units) + (unit + 24) * 1024));
}

float bf16_to_float(uint16_t bits) {
  const uint32_t wide = uint32_t{bits} << 16;
  float value = 0;
  std::memcpy(&value, &wide, sizeof(value));
  return value;
}

uint16_t float_to_bf16(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  if (std::isnan(value)) return static_cast<uint16_t>(bits >> 16 | 0x40);
  const uint32_t rest = bits & 0xffff;
  uint32_t high = bits >> 16;
  if (rest > 0x8000 || (rest == 0x8000 && (high & 1) != 0)) ++high;
  return static_cast<uint16_t>(high);
}

float read_float(const void* array, FloatType type, size_t index) {
  const auto* bytes = static_cast<const uint8_t*>(array) + index * ops::bytes_of(type);
  if (type == FloatType::kF32) {
    float value = 0;
    std::memcpy(&value, bytes, sizeof(value));
    return value;
  }
  uint16_t half = 0;
  std::memcpy(&half, bytes, sizeof(half));
  return type == FloatType::kF16 ? half_to_float(half) : bf16_to_float(half);
}

void store_float(void* array, FloatType type, size_t index, float value) {
  auto* bytes = static_cast<uint8_t*>(array) + index * ops::bytes_of(type);
  if (type == FloatType::kF32) {
    std::memcpy(bytes, &value, sizeof(value));
    return;
  }
  const uint16_t half = type == FloatType::kF16 ? float_to_half(value) : float_to_bf16(value);
  std::memcpy(bytes, &half, sizeof(half));
}

ops::StepLayout Step::layout() const {
  return ops::step_layout(static_cast<uint32_t>(rows.size()) + 3,
                          static_cast<uint32_t>(samples.size()) + 2);
}

std::vector<std::byte> Step::bytes() const {
  const ops::StepLayout at = layout();
  const uint64_t biases_at = ops::biases_offset(at, pages.size());
  std::vector<std::byte> bytes(biases_at + biases.size() * sizeof(ops::LogitBias) + 4);
  const ops::StepHeader header{
      static_cast<uint32_t>(rows.size()), static_cast<uint32_t>(samples.size()),
      static_cast<uint32_t>(pages.size()), static_cast<uint32_t>(biases.size())};
  const auto put = [&](size_t offset, const void* from, size_t size) {
    if (size > 0) std::memcpy(bytes.data() + offset, from, size);
  };
  put(0, &header, sizeof(header));
  put(at.rows_offset, rows.data(), rows.size() * sizeof(ops::StepRow));
  put(at.samples_offset, samples.data(), samples.size() * sizeof(ops::SampleRow));
  put(at.pages_offset, pages.data(), pages.size() * sizeof(uint32_t));
  put(biases_at, biases.data(), biases.size() * sizeof(ops::LogitBias));
  return bytes;
}

Step Step::of_rows(uint32_t count) {
  Step step;
  step.rows.resize(count);
  step.samples.resize(count);
  return step;
}

namespace {

void fill_floats(TestWeight& weight, std::mt19937& random, FloatType type) {
  std::normal_distribution<float> normal;
  for (size_t i = 0; i < weight.values.size(); ++i) {
    store_float(weight.data.data(), type, i, normal(random));
    weight.values[i] = read_float(weight.data.data(), type, i);
  }
}

void fill_quantized(TestWeight& weight, std::mt19937& random, uint32_t bits) {
  std::uniform_real_distribution<float> uniform(0.5f, 1.5f);
  const ops::WeightArgs& args = weight.args;
  const uint32_t top = (1u << bits) - 1;
  for (size_t g = 0; g < weight.values.size() / args.group_size; ++g) {
    const float scale = uniform(random) / static_cast<float>(top) * (random() % 2 == 0 ? 1 : -1);
    store_float(weight.scales.data(), args.scale_type, g, scale);
    store_float(weight.biases.data(), args.scale_type, g,
                -scale * static_cast<float>(top) * uniform(random) / 2);
    const double stored_scale = read_float(weight.scales.data(), args.scale_type, g);
    const double stored_bias = read_float(weight.biases.data(), args.scale_type, g);
    for (size_t i = g * args.group_size; i < (g + 1) * args.group_size; ++i) {
      const uint32_t q = static_cast<uint32_t>(random()) & top;
      const size_t bit = i * bits;
      weight.data.data()[bit / 8] |= static_cast<uint8_t>(q << bit % 8);
      weight.values[i] = q * stored_scale + stored_bias;
    }
  }
}

}  // namespace

TestWeight make_weight(std::mt19937& random, ops::WeightArgs args, size_t misalignment) {
  const size_t count = size_t{args.n} * args.k;
  const size_t groups = args.group_size > 0 ? count / args.group_size : 0;
  const size_t scale_bytes = groups * ops::bytes_of(args.scale_type);
  TestWeight weight{args, OddBytes(count * 4, misalignment), OddBytes(scale_bytes, misalignment),
                    OddBytes(scale_bytes, misalignment), std::vector<double>(count)};
  switch (args.format) {
    case WeightFormat::kF32:
      fill_floats(weight, random, FloatType::kF32);
      break;
    case WeightFormat::kF16:
      fill_floats(weight, random, FloatType::kF16);
      break;
    case WeightFormat::kBF16:
      fill_floats(weight, random, FloatType::kBF16);
      break;
    case WeightFormat::kQ4:
      fill_quantized(weight, random, 4);
      break;
    case WeightFormat::kQ8:
      fill_quantized(weight, random, 8);
      break;
  }
  return weight;
}

}  // namespace krserve::kernels
