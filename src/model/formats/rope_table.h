// Rotary embedding angles of a model as a table of cosines and sines.
#pragma once

#include <cstdint>
#include <vector>

#include "model/formats/model_config.h"

namespace krserve {

// Radians per position for each of the head_dim/2 pairs, rope_scaling applied. Llama 3's scaling is
// _compute_llama3_parameters of transformers' modeling_rope_utils.py.
std::vector<double> rope_frequencies(const ModelConfig& config);

// f32 [positions][2][head_dim/2]: cosines, then sines; computed in double.
std::vector<float> rope_table(const ModelConfig& config, uint32_t positions);

}  // namespace krserve
