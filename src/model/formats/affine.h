// MLX's affine quantization: which integers, scale and bias stand for a group of weights.
#pragma once

#include <cstdint>
#include <span>

#include "model/formats/model_config.h"

namespace krserve {

// Quantizes one row of finite values: every group_size of them get integers of `bits` bits, packed
// little end first into `words`, and one scale and bias, w = scale * q + bias, in f32 (a file keeps
// them in the weights' own type; the integers belong to the f32 ones). The edge of the group with
// the larger magnitude becomes exact and zero falls on a level: the rule of mlx.core.quantize,
// bit for bit (tests/mlx). row.size() is a multiple of group_size.
void quantize_row(std::span<const float> row, const Quantization& quantization,
                  std::span<uint32_t> words, std::span<float> scales, std::span<float> biases);

}  // namespace krserve
