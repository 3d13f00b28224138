#include "model/synth/shapes.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace krserve::synth {
namespace {

using Json = nlohmann::ordered_json;

// From config.json of the Qwen/Qwen2.5-*-Instruct, Qwen/Qwen3-0.6B and
// meta-llama/Llama-3.2-1B-Instruct repositories; tiny is ours. Llama has no ChatML tokens: its
// header and end-of-turn ids take their place.
constexpr std::array<Shape, 6> kShapes = {{
    {.name = "tiny",
     .architecture = Architecture::kQwen2,
     .hidden_size = 256,
     .layers = 4,
     .heads = 4,
     .kv_heads = 2,
     .head_dim = 64,
     .intermediate_size = 768,
     .vocab_size = 512,
     .max_position_embeddings = 2048,
     .end_of_text = 256,
     .im_start = 257,
     .im_end = 258},
    {.name = "qwen2.5-0.5b",
     .architecture = Architecture::kQwen2,
     .hidden_size = 896,
     .layers = 24,
     .heads = 14,
     .kv_heads = 2,
     .head_dim = 64,
     .intermediate_size = 4864,
     .vocab_size = 151936,
     .max_position_embeddings = 32768,
     .end_of_text = 151643,
     .im_start = 151644,
     .im_end = 151645},
    {.name = "qwen2.5-1.5b",
     .architecture = Architecture::kQwen2,
     .hidden_size = 1536,
     .layers = 28,
     .heads = 12,
     .kv_heads = 2,
     .head_dim = 128,
     .intermediate_size = 8960,
     .vocab_size = 151936,
     .max_position_embeddings = 32768,
     .end_of_text = 151643,
     .im_start = 151644,
     .im_end = 151645},
    {.name = "qwen2.5-7b",
     .architecture = Architecture::kQwen2,
     .hidden_size = 3584,
     .layers = 28,
     .heads = 28,
     .kv_heads = 4,
     .head_dim = 128,
     .intermediate_size = 18944,
     .vocab_size = 152064,
     .max_position_embeddings = 32768,
     .tied = false,
     .end_of_text = 151643,
     .im_start = 151644,
     .im_end = 151645},
    {.name = "qwen3-0.6b",
     .architecture = Architecture::kQwen3,
     .hidden_size = 1024,
     .layers = 28,
     .heads = 16,
     .kv_heads = 8,
     .head_dim = 128,
     .intermediate_size = 3072,
     .vocab_size = 151936,
     .max_position_embeddings = 40960,
     .end_of_text = 151643,
     .im_start = 151644,
     .im_end = 151645},
    {.name = "llama-3.2-1b",
     .architecture = Architecture::kLlama,
     .hidden_size = 2048,
     .layers = 16,
     .heads = 32,
     .kv_heads = 8,
     .head_dim = 64,
     .intermediate_size = 8192,
     .vocab_size = 128256,
     .max_position_embeddings = 131072,
     .rms_norm_eps = 1e-5,
     .rope_theta = 5e5,
     .llama3_rope = true,
     .end_of_text = 128001,
     .im_start = 128006,
     .im_end = 128009,
     .begin_of_text = 128000},
}};

std::string_view class_name(Architecture architecture) {
  switch (architecture) {
    case Architecture::kQwen2:
      return "Qwen2ForCausalLM";
    case Architecture::kQwen3:
      return "Qwen3ForCausalLM";
    case Architecture::kLlama:
      break;
  }
  return "LlamaForCausalLM";
}

// As the published models have it: a Qwen's <|endoftext|> is its bos_token_id.
uint32_t bos_of(const Shape& shape) {
  return shape.begin_of_text != 0 ? shape.begin_of_text : shape.end_of_text;
}

}  // namespace

std::span<const Shape> shapes() {
  return kShapes;
}

const Shape& find_shape(std::string_view name) {
  std::string known;
  for (const Shape& shape : kShapes) {
    if (shape.name == name) return shape;
    known += (known.empty() ? "" : ", ") + std::string(shape.name);
  }
  throw_error<UsageError>("model.synth", "unknown shape '{}'; use one of {}", name, known);
}

std::vector<std::pair<std::string, uint32_t>> special_tokens(const Shape& shape) {
  std::vector<std::pair<std::string, uint32_t>> tokens;
  if (shape.begin_of_text != 0) tokens.emplace_back("<|begin_of_text|>", shape.begin_of_text);
  tokens.emplace_back("<|endoftext|>", shape.end_of_text);
  tokens.emplace_back("<|im_start|>", shape.im_start);
  tokens.emplace_back("<|im_end|>", shape.im_end);
  return tokens;
}

std::string config_json(const Shape& shape, uint32_t bits, uint32_t group_size) {
  Json json = {{"architectures", {class_name(shape.architecture)}},
               {"model_type", to_string(shape.architecture)},
               {"hidden_size", shape.hidden_size},
               {"num_hidden_layers", shape.layers},
               {"num_attention_heads", shape.heads},
               {"num_key_value_heads", shape.kv_heads},
               {"head_dim", shape.head_dim},
               {"intermediate_size", shape.intermediate_size},
               {"vocab_size", shape.vocab_size},
               {"max_position_embeddings", shape.max_position_embeddings},
               {"hidden_act", "silu"},
               {"rms_norm_eps", shape.rms_norm_eps},
               {"rope_theta", shape.rope_theta},
               {"rope_scaling", nullptr},
               {"tie_word_embeddings", shape.tied},
               {"torch_dtype", "bfloat16"},
               {"bos_token_id", bos_of(shape)},
               {"eos_token_id", shape.im_end}};
  if (shape.llama3_rope) {
    json["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", 32.0},
                            {"low_freq_factor", 1.0},
                            {"high_freq_factor", 4.0},
                            {"original_max_position_embeddings", 8192}};
  }
  if (bits != 16) json["quantization"] = {{"group_size", group_size}, {"bits", bits}};
  return json.dump(2) + "\n";
}

std::string generation_config_json(const Shape& shape) {
  const Json json = {{"bos_token_id", bos_of(shape)},
                     {"eos_token_id", {shape.im_end, shape.end_of_text}}};
  return json.dump(2) + "\n";
}

}  // namespace krserve::synth
