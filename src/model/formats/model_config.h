// What config.json (and generation_config.json) say about a model, checked.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace krserve {

enum class Architecture { kQwen2, kQwen3, kLlama };

std::string_view to_string(Architecture architecture);

struct RopeScaling {
  enum class Kind { kNone, kLinear, kLlama3 };

  Kind kind = Kind::kNone;
  double factor = 1.0;
  double low_freq_factor = 1.0;  // kLlama3 only, as are the next two
  double high_freq_factor = 4.0;
  uint32_t original_max_position_embeddings = 8192;
};

// MLX affine quantization of one module: bits 4 or 8; group_size 32, 64 or 128.
struct Quantization {
  uint32_t bits = 4;
  uint32_t group_size = 64;

  bool operator==(const Quantization&) const = default;
};

bool is_supported(const Quantization& quantization);
inline constexpr const char* kSupportedQuantization = "4 or 8 bits in groups of 32, 64 or 128";

struct QuantizationConfig {
  Quantization base;
  // Module path ("model.layers.0.mlp.up_proj") -> its own parameters, or none: not quantized.
  std::map<std::string, std::optional<Quantization>, std::less<>> overrides;

  std::optional<Quantization> of(std::string_view module) const;
};

struct ModelConfig {
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
  double rope_theta = 10000.0;
  RopeScaling rope_scaling;
  std::optional<bool> tie_word_embeddings;  // none: as the tensors say
  bool qkv_bias = false;                    // q_proj, k_proj and v_proj have a bias
  bool attention_output_bias = false;       // o_proj has one
  bool qk_norm = false;                     // per-head RMS norm of q and k
  std::optional<QuantizationConfig> quantization;
  std::vector<uint32_t> eos_token_ids;  // ascending; config.json and generation_config.json merged
  std::optional<uint32_t> bos_token_id;

  uint32_t q_size() const { return heads * head_dim; }
  uint32_t kv_size() const { return kv_heads * head_dim; }
};

// Reads config.json and, where it exists, generation_config.json. Throws ModelError with the file,
// the key, its value and what was expected.
ModelConfig read_model_config(const std::filesystem::path& directory);

}  // namespace krserve
