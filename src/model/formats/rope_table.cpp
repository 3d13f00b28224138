#include "model/formats/rope_table.h"

#include <cmath>
#include <numbers>

namespace krserve {
namespace {

double scale_llama3(double frequency, const RopeScaling& scaling) {
  const double context = scaling.original_max_position_embeddings;
  const double wavelength = 2.0 * std::numbers::pi / frequency;
  if (wavelength < context / scaling.high_freq_factor) return frequency;
  if (wavelength > context / scaling.low_freq_factor) return frequency / scaling.factor;
  const double smooth = (context / wavelength - scaling.low_freq_factor) /
                        (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1.0 - smooth) * frequency / scaling.factor + smooth * frequency;
}

}  // namespace

std::vector<double> rope_frequencies(const ModelConfig& config) {
  std::vector<double> result(config.head_dim / 2);
  for (size_t i = 0; i < result.size(); ++i) {
    const double exponent = 2.0 * static_cast<double>(i) / config.head_dim;
    const double frequency = std::pow(config.rope_theta, -exponent);
    switch (config.rope_scaling.kind) {
      case RopeScaling::Kind::kNone:
        result[i] = frequency;
        break;
      case RopeScaling::Kind::kLinear:
        result[i] = frequency / config.rope_scaling.factor;
        break;
      case RopeScaling::Kind::kLlama3:
        result[i] = scale_llama3(frequency, config.rope_scaling);
        break;
    }
  }
  return result;
}

std::vector<float> rope_table(const ModelConfig& config, uint32_t positions) {
  const std::vector<double> frequencies = rope_frequencies(config);
  const size_t half = frequencies.size();
  std::vector<float> table(size_t{positions} * 2 * half);
  for (uint32_t position = 0; position < positions; ++position) {
    float* row = table.data() + size_t{position} * 2 * half;
    for (size_t i = 0; i < half; ++i) {
      const double angle = position * frequencies[i];
      row[i] = static_cast<float>(std::cos(angle));
      row[half + i] = static_cast<float>(std::sin(angle));
    }
  }
  return table;
}

}  // namespace krserve
