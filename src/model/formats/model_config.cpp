#include "model/formats/model_config.h"

#include <algorithm>
#include <array>
#include <system_error>

#include "base/error.h"
#include "model/formats/json_file.h"

namespace krserve {
namespace {

constexpr const char* kWhere = "model.config";

// Far above any real dense decoder, low enough that no product of two or three overflows 64 bits.
constexpr uint64_t kMaxHidden = 1u << 16;
constexpr uint64_t kMaxLayers = 1024;
constexpr uint64_t kMaxHeads = 1024;
constexpr uint64_t kMaxHeadDim = 1024;
constexpr uint64_t kMaxIntermediate = 1u << 20;
constexpr uint64_t kMaxVocab = 1u << 22;
constexpr uint64_t kMaxPositions = 1u << 26;

struct ArchitectureName {
  Architecture architecture;
  std::string_view model_type;
};

constexpr std::array<ArchitectureName, 3> kArchitectures = {{{Architecture::kQwen2, "qwen2"},
                                                             {Architecture::kQwen3, "qwen3"},
                                                             {Architecture::kLlama, "llama"}}};

Architecture read_architecture(const JsonFields& fields) {
  if (fields.has("model_file")) {
    fields.refuse("model_file", "none: krserve runs no code that comes with a model");
  }
  const std::string type = fields.text("model_type");
  for (const auto& known : kArchitectures) {
    if (known.model_type == type) return known.architecture;
  }
  fields.refuse("model_type", "one of the supported ones: qwen2, qwen3, llama");
}

uint32_t read_size(const JsonFields& fields, const char* key, uint64_t max) {
  return static_cast<uint32_t>(fields.integer(key, 1, max));
}

void read_sizes(const JsonFields& fields, ModelConfig& config) {
  config.hidden_size = read_size(fields, "hidden_size", kMaxHidden);
  config.layers = read_size(fields, "num_hidden_layers", kMaxLayers);
  config.heads = read_size(fields, "num_attention_heads", kMaxHeads);
  config.kv_heads =
      static_cast<uint32_t>(fields.integer_or("num_key_value_heads", 1, kMaxHeads, config.heads));
  if (config.heads % config.kv_heads != 0) {
    fields.refuse("num_key_value_heads",
                  fmt::format("a divisor of num_attention_heads, {}", config.heads));
  }
  if (fields.has("head_dim")) {
    config.head_dim = read_size(fields, "head_dim", kMaxHeadDim);
  } else if (config.hidden_size % config.heads != 0) {
    fields.refuse("head_dim", fmt::format("a size, since hidden_size {} is no multiple of "
                                          "num_attention_heads {}",
                                          config.hidden_size, config.heads));
  } else {
    config.head_dim = config.hidden_size / config.heads;
  }
  if (config.head_dim % 2 != 0 || config.head_dim > kMaxHeadDim) {
    fields.refuse("head_dim", fmt::format("an even size up to {} (from hidden_size {} / "
                                          "num_attention_heads {} where it is missing)",
                                          kMaxHeadDim, config.hidden_size, config.heads));
  }
  config.intermediate_size = read_size(fields, "intermediate_size", kMaxIntermediate);
  config.vocab_size = read_size(fields, "vocab_size", kMaxVocab);
  config.max_position_embeddings = read_size(fields, "max_position_embeddings", kMaxPositions);
}

RopeScaling read_llama3_scaling(const JsonFields& fields) {
  RopeScaling scaling;
  scaling.kind = RopeScaling::Kind::kLlama3;
  scaling.low_freq_factor = fields.number("low_freq_factor", 0, 1e6);
  scaling.high_freq_factor = fields.number("high_freq_factor", 0, 1e6);
  if (scaling.high_freq_factor <= scaling.low_freq_factor) {
    fields.refuse("high_freq_factor",
                  fmt::format("a number above low_freq_factor, {}", scaling.low_freq_factor));
  }
  scaling.original_max_position_embeddings =
      read_size(fields, "original_max_position_embeddings", kMaxPositions);
  return scaling;
}

// `fields` is rope_scaling, or rope_parameters, which transformers 5 writes instead.
RopeScaling read_rope_scaling(const JsonFields& fields) {
  // "type" is the older spelling; where both stand, rope_type wins as in transformers.
  const char* key = fields.has("rope_type") || !fields.has("type") ? "rope_type" : "type";
  const std::string type = fields.text_or(key, "default");
  if (type == "default") return {};
  RopeScaling scaling;
  if (type == "linear") {
    scaling.kind = RopeScaling::Kind::kLinear;
  } else if (type == "llama3") {
    scaling = read_llama3_scaling(fields);
  } else {
    fields.refuse(key, "one of the supported ones: default, linear, llama3");
  }
  scaling.factor = fields.number("factor", 0, 1e6);
  return scaling;
}

void read_rope(const JsonFields& fields, ModelConfig& config) {
  config.rope_theta = fields.number_or("rope_theta", 1, 1e12, 10000.0);
  if (fields.has("rope_scaling"))
    config.rope_scaling = read_rope_scaling(fields.object("rope_scaling"));
  if (fields.has("rope_parameters")) {
    const JsonFields rope = fields.object("rope_parameters");
    for (const auto& [key, value] : rope.json().items()) {
      if (value.is_object()) rope.refuse(key, "one set of parameters for all layers");
    }
    config.rope_theta = rope.number_or("rope_theta", 1, 1e12, config.rope_theta);
    config.rope_scaling = read_rope_scaling(rope);
    if (rope.number_or("partial_rotary_factor", 0, 1, 1.0) != 1.0) {
      rope.refuse("partial_rotary_factor", "1: partial rotary embedding is not supported");
    }
  }
  if (fields.number_or("partial_rotary_factor", 0, 1, 1.0) != 1.0) {
    fields.refuse("partial_rotary_factor", "1: partial rotary embedding is not supported");
  }
}

void read_architecture_traits(const JsonFields& fields, ModelConfig& config) {
  const bool attention_bias = fields.boolean_or("attention_bias", false);
  config.qk_norm = config.architecture == Architecture::kQwen3;
  config.qkv_bias = config.architecture == Architecture::kQwen2 || attention_bias;
  config.attention_output_bias = config.architecture != Architecture::kQwen2 && attention_bias;
  if (fields.boolean_or("mlp_bias", false)) {
    fields.refuse("mlp_bias", "false: biases in the MLP are not supported");
  }
  if (fields.boolean_or("use_sliding_window", false)) {
    fields.refuse("use_sliding_window", "false: sliding-window attention is not supported");
  }
  const std::string activation = fields.text_or("hidden_act", "silu");
  if (activation != "silu" && activation != "swish") fields.refuse("hidden_act", "silu");
  if (!fields.has("layer_types")) return;
  const Json& types = fields.json().at("layer_types");
  const auto is_full = [](const Json& type) { return type == "full_attention"; };
  if (!types.is_array() || !std::all_of(types.begin(), types.end(), is_full)) {
    fields.refuse("layer_types", "\"full_attention\" for all layers");
  }
}

// The mode comes first: the other modes have sizes of their own, which would be refused without
// saying why.
Quantization read_quantization(const JsonFields& fields, const Quantization& base) {
  if (fields.text_or("mode", "affine") != "affine") {
    fields.refuse("mode", fmt::format("\"affine\", with {}", kSupportedQuantization));
  }
  Quantization result;
  result.bits = static_cast<uint32_t>(fields.integer_or("bits", 1, 64, base.bits));
  if (result.bits != 4 && result.bits != 8) fields.refuse("bits", "4 or 8");
  result.group_size =
      static_cast<uint32_t>(fields.integer_or("group_size", 1, 4096, base.group_size));
  if (!is_supported(result)) fields.refuse("group_size", "32, 64 or 128");
  return result;
}

// mlx-lm writes "quantization"; entries that are objects or booleans are per-module overrides.
QuantizationConfig read_mlx_quantization(const JsonFields& fields) {
  for (const char* key : {"bits", "group_size"}) {
    if (!fields.has(key)) fields.refuse(key, "an integer");
  }
  QuantizationConfig result;
  result.base = read_quantization(fields, {});
  for (const auto& [key, value] : fields.json().items()) {
    if (value.is_object()) {
      result.overrides.emplace(key, read_quantization(fields.object(key), result.base));
    } else if (value.is_boolean()) {
      result.overrides.emplace(key, value.get<bool>() ? std::optional(result.base) : std::nullopt);
    } else if (key.find('.') != std::string::npos) {
      fields.refuse(key, "false, true or an object with bits and group_size");
    }
  }
  return result;
}

std::optional<QuantizationConfig> read_quantization_config(const JsonFields& fields) {
  if (fields.has("quantization")) return read_mlx_quantization(fields.object("quantization"));
  if (!fields.has("quantization_config")) return std::nullopt;
  const JsonFields quantization = fields.object("quantization_config");
  if (quantization.has("quant_method")) {
    quantization.refuse("quant_method",
                        "a model that is not quantized, or MLX affine quantization; "
                        "download such a version");
  }
  return read_mlx_quantization(quantization);
}

void merge_eos(const JsonFields& fields, ModelConfig& config) {
  for (const uint64_t id : fields.integers_or_none("eos_token_id", config.vocab_size - 1)) {
    config.eos_token_ids.push_back(static_cast<uint32_t>(id));
  }
}

void read_special_tokens(const std::filesystem::path& directory, const JsonFields& fields,
                         ModelConfig& config) {
  merge_eos(fields, config);
  if (fields.has("bos_token_id")) {
    config.bos_token_id =
        static_cast<uint32_t>(fields.integer("bos_token_id", 0, config.vocab_size - 1));
  }
  const auto generation_path = directory / "generation_config.json";
  std::error_code ignored;
  if (std::filesystem::exists(generation_path, ignored)) {
    const Json generation = read_json_file(generation_path, kWhere);
    merge_eos(JsonFields(generation, generation_path.string(), kWhere), config);
  }
  auto& ids = config.eos_token_ids;
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
}

}  // namespace

std::string_view to_string(Architecture architecture) {
  for (const auto& known : kArchitectures) {
    if (known.architecture == architecture) return known.model_type;
  }
  return "unknown";
}

bool is_supported(const Quantization& quantization) {
  const uint32_t group = quantization.group_size;
  return (quantization.bits == 4 || quantization.bits == 8) &&
         (group == 32 || group == 64 || group == 128);
}

std::optional<Quantization> QuantizationConfig::of(std::string_view module) const {
  const auto it = overrides.find(module);
  return it == overrides.end() ? std::optional(base) : it->second;
}

ModelConfig read_model_config(const std::filesystem::path& directory) {
  const auto path = directory / "config.json";
  const Json json = read_json_file(path, kWhere);
  const JsonFields fields(json, path.string(), kWhere);
  ModelConfig config;
  config.architecture = read_architecture(fields);
  read_sizes(fields, config);
  config.rms_norm_eps = fields.number_or("rms_norm_eps", 0, 1, 1e-6);
  if (fields.has("tie_word_embeddings")) {
    config.tie_word_embeddings = fields.boolean_or("tie_word_embeddings", false);
  }
  read_rope(fields, config);
  read_architecture_traits(fields, config);
  config.quantization = read_quantization_config(fields);
  read_special_tokens(directory, fields, config);
  return config;
}

}  // namespace krserve
