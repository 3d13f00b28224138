// The published shapes that random-weight models can be made of.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "model/formats/model_config.h"

namespace krserve::synth {

struct Shape {
  std::string_view name;
  Architecture architecture = Architecture::kQwen2;
  uint32_t hidden_size = 0;
  uint32_t layers = 0;
  uint32_t heads = 0;
  uint32_t kv_heads = 0;
  uint32_t head_dim = 0;
  uint32_t intermediate_size = 0;
  uint32_t vocab_size = 0;
  uint32_t max_position_embeddings = 0;
  double rms_norm_eps = 1e-6;
  double rope_theta = 1e6;
  bool tied = true;
  bool llama3_rope = false;  // factor 32 over 8192 positions
  // Ids of the special tokens; no <|begin_of_text|> where begin_of_text is 0.
  uint32_t end_of_text = 0;
  uint32_t im_start = 0;
  uint32_t im_end = 0;
  uint32_t begin_of_text = 0;
};

std::span<const Shape> shapes();
// Throws UsageError listing the names.
const Shape& find_shape(std::string_view name);

// The special tokens with their ids, ascending.
std::vector<std::pair<std::string, uint32_t>> special_tokens(const Shape& shape);

// The text of config.json; bits 16 means bf16 without quantization.
std::string config_json(const Shape& shape, uint32_t bits, uint32_t group_size);
std::string generation_config_json(const Shape& shape);

}  // namespace krserve::synth
