#include "model/formats/weights.h"

#include <cmath>
#include <cstring>

#include "base/error.h"
#include "model/formats/float_bits.h"

namespace krserve {
namespace {

constexpr const char* kWhere = "model.load";
constexpr uint32_t kWordBits = 32;

std::string describe(const Quantization& quantization) {
  return fmt::format("{} bit, group {}", quantization.bits, quantization.group_size);
}

void require_shape(const TensorView& view, const std::vector<int64_t>& expected,
                   const std::string& note) {
  if (view.shape == expected) return;
  throw_error<ModelError>(kWhere,
                          "{}: shape {}, expected {}{}; re-download the model, or check that "
                          "config.json belongs to it",
                          view.name, format_shape(view.shape), format_shape(expected),
                          note.empty() ? "" : " (" + note + ")");
}

ops::FloatType require_float(const TensorView& view) {
  switch (view.dtype) {
    case Dtype::kF32:
      return ops::FloatType::kF32;
    case Dtype::kF16:
      return ops::FloatType::kF16;
    case Dtype::kBF16:
      return ops::FloatType::kBF16;
    default:
      break;
  }
  throw_error<ModelError>(kWhere,
                          "{}: dtype {}, expected F32, F16 or BF16; download a version of the "
                          "model in one of those or in MLX's 4 or 8 bit format",
                          view.name, to_string(view.dtype));
}

ops::WeightFormat plain_format(ops::FloatType type) {
  switch (type) {
    case ops::FloatType::kF32:
      return ops::WeightFormat::kF32;
    case ops::FloatType::kF16:
      return ops::WeightFormat::kF16;
    case ops::FloatType::kBF16:
      break;
  }
  return ops::WeightFormat::kBF16;
}

// Shape and bit width must agree with config.json, or the kernels would read the wrong places.
void resolve_quantized(const Checkpoint& checkpoint, const Quantization& quantization,
                       LinearWeights& linear) {
  const uint32_t n = linear.args.n;
  const uint32_t k = linear.args.k;
  if (k % quantization.group_size != 0) {
    throw_error<ModelError>(kWhere,
                            "{}: {} columns are no multiple of the group size {}; use a version "
                            "of the model quantized with a smaller group",
                            linear.module, k, quantization.group_size);
  }
  const std::string note = describe(quantization);
  if (linear.weight.dtype != Dtype::kU32) {
    throw_error<ModelError>(kWhere, "{}: dtype {}, expected U32 ({}); re-download the model",
                            linear.weight.name, to_string(linear.weight.dtype), note);
  }
  require_shape(linear.weight, {n, k / (kWordBits / quantization.bits)}, note);
  linear.scales = checkpoint.require(linear.module + ".scales");
  linear.biases = checkpoint.require(linear.module + ".biases");
  for (const auto* table : {&*linear.scales, &*linear.biases}) {
    require_shape(*table, {n, k / quantization.group_size}, note);
    linear.args.scale_type = require_float(*table);
  }
  if (linear.scales->dtype != linear.biases->dtype) {
    throw_error<ModelError>(
        kWhere, "{}: dtype {}, expected {} as .scales has; re-download the model",
        linear.biases->name, to_string(linear.biases->dtype), to_string(linear.scales->dtype));
  }
  linear.args.group_size = quantization.group_size;
  linear.args.format = quantization.bits == 4 ? ops::WeightFormat::kQ4 : ops::WeightFormat::kQ8;
}

void resolve_plain(LinearWeights& linear) {
  const ops::FloatType type = require_float(linear.weight);
  require_shape(linear.weight, {linear.args.n, linear.args.k}, "");
  linear.args.format = plain_format(type);
  linear.args.scale_type = type;
}

// What the shapes say: [n, k * bits / 32] words and [n, k / group_size] scales. None where they
// fit no format at all.
std::optional<Quantization> packed_as(const TensorView& weight, const TensorView& scales,
                                      uint32_t k) {
  if (weight.shape.size() != 2 || scales.shape.size() != 2 || scales.shape[1] <= 0) return {};
  const auto words = static_cast<uint64_t>(weight.shape[1]);
  const auto groups = static_cast<uint64_t>(scales.shape[1]);
  if (k % groups != 0 || words * kWordBits % k != 0) return {};
  return Quantization{static_cast<uint32_t>(words * kWordBits / k),
                      static_cast<uint32_t>(k / groups)};
}

// As in mlx-lm: config.json's entry for the module counts, else the tensors' shapes do, and the
// general values of config.json where those make no sense.
Quantization parameters_of(const LinearWeights& linear, const TensorView& scales,
                           const Quantization& declared, bool own_entry) {
  if (own_entry || linear.weight.dtype != Dtype::kU32) return declared;
  const auto packed = packed_as(linear.weight, scales, linear.args.k);
  if (!packed || *packed == declared) return declared;
  if (packed->bits == 0 || packed->bits > 8) return declared;
  if (!is_supported(*packed)) {
    throw_error<ModelError>(kWhere,
                            "{} is quantized with {} by its shapes; supported are {}; download or "
                            "convert another version of the model",
                            linear.module, describe(*packed), kSupportedQuantization);
  }
  return *packed;
}

// A module with .scales is quantized, and an entry of its own says with what, or forbids it.
std::optional<Quantization> quantization_of(const Checkpoint& checkpoint, const ModelConfig& config,
                                            const LinearWeights& linear) {
  const std::string& module = linear.module;
  const TensorView* scales = checkpoint.find(module + ".scales");
  const auto& declared = config.quantization;
  const auto parameters = declared ? declared->of(module) : std::nullopt;
  const bool own_entry = declared && declared->overrides.contains(module);
  if (scales != nullptr && !parameters) {
    throw_error<ModelError>(kWhere,
                            "{}.scales exists, but config.json does not say with what bits and "
                            "group_size it is quantized; re-download config.json",
                            module);
  }
  if (scales == nullptr && parameters && own_entry) {
    throw_error<ModelError>(kWhere,
                            "{}: config.json says {}, but {}.scales is missing; re-download "
                            "the model",
                            module, describe(*parameters), module);
  }
  if (scales == nullptr) return std::nullopt;
  return parameters_of(linear, *scales, *parameters, own_entry);
}

LayerWeights load_layer(const Checkpoint& checkpoint, const ModelConfig& config, uint32_t index) {
  const std::string prefix = fmt::format("model.layers.{}.", index);
  const uint32_t hidden = config.hidden_size;
  const uint32_t inner = config.intermediate_size;
  const auto linear = [&](const char* name, uint32_t n, uint32_t k, bool bias = false) {
    return resolve_linear(checkpoint, config, prefix + name, {n, k, bias});
  };
  const auto vector = [&](const char* name, uint32_t size) {
    return read_vector(checkpoint, prefix + name, size);
  };
  LayerWeights layer;
  layer.attention_norm = vector("input_layernorm.weight", hidden);
  layer.q = linear("self_attn.q_proj", config.q_size(), hidden, config.qkv_bias);
  layer.k = linear("self_attn.k_proj", config.kv_size(), hidden, config.qkv_bias);
  layer.v = linear("self_attn.v_proj", config.kv_size(), hidden, config.qkv_bias);
  layer.o = linear("self_attn.o_proj", hidden, config.q_size(), config.attention_output_bias);
  if (config.qk_norm) {
    layer.q_norm = vector("self_attn.q_norm.weight", config.head_dim);
    layer.k_norm = vector("self_attn.k_norm.weight", config.head_dim);
  }
  layer.mlp_norm = vector("post_attention_layernorm.weight", hidden);
  layer.gate = linear("mlp.gate_proj", inner, hidden);
  layer.up = linear("mlp.up_proj", inner, hidden);
  layer.down = linear("mlp.down_proj", hidden, inner);
  return layer;
}

}  // namespace

uint64_t LinearWeights::bytes() const {
  return weight.bytes + (scales ? scales->bytes : 0) + (biases ? biases->bytes : 0) +
         bias.size() * sizeof(float);
}

uint64_t DecoderWeights::bytes() const {
  uint64_t total = embeddings.bytes() + (lm_head ? lm_head->bytes() : 0);
  for (const LayerWeights& layer : layers) {
    for (const auto* linear :
         {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down}) {
      total += linear->bytes();
    }
  }
  return total;
}

std::vector<float> read_vector(const Checkpoint& checkpoint, const std::string& name,
                               uint32_t size) {
  const TensorView& view = checkpoint.require(name);
  const ops::FloatType type = require_float(view);
  require_shape(view, {size}, "");
  std::vector<float> result(size);
  if (type == ops::FloatType::kF32) {
    std::memcpy(result.data(), view.data, view.bytes);
  } else {
    std::vector<uint16_t> bits(size);  // a copy: the file may hold them unaligned
    std::memcpy(bits.data(), view.data, view.bytes);
    for (uint32_t i = 0; i < size; ++i) {
      result[i] = type == ops::FloatType::kBF16 ? bf16_to_f32(bits[i]) : f16_to_f32(bits[i]);
    }
  }
  for (uint32_t i = 0; i < size; ++i) {
    if (!std::isfinite(result[i])) {
      throw_error<ModelError>(kWhere, "{}: element {} is {}; re-download the model", name, i,
                              result[i]);
    }
  }
  return result;
}

LinearWeights resolve_linear(const Checkpoint& checkpoint, const ModelConfig& config,
                             const std::string& module, const LinearShape& shape) {
  LinearWeights linear;
  linear.module = module;
  linear.args.n = shape.n;
  linear.args.k = shape.k;
  linear.weight = checkpoint.require(module + ".weight");
  if (const auto quantization = quantization_of(checkpoint, config, linear)) {
    resolve_quantized(checkpoint, *quantization, linear);
  } else {
    resolve_plain(linear);
  }
  const std::string bias = module + ".bias";
  if (shape.has_bias) {
    linear.bias = read_vector(checkpoint, bias, shape.n);
  } else if (checkpoint.find(bias) != nullptr) {
    throw_error<ModelError>(kWhere,
                            "{} exists, but the architecture has no such bias; check that "
                            "config.json belongs to the model (attention_bias)",
                            bias);
  }
  return linear;
}

DecoderWeights load_decoder_weights(const Checkpoint& checkpoint, const ModelConfig& config) {
  DecoderWeights weights;
  const LinearShape table{config.vocab_size, config.hidden_size, false};
  weights.embeddings = resolve_linear(checkpoint, config, "model.embed_tokens", table);
  weights.layers.reserve(config.layers);
  for (uint32_t i = 0; i < config.layers; ++i) {
    weights.layers.push_back(load_layer(checkpoint, config, i));
  }
  weights.final_norm = read_vector(checkpoint, "model.norm.weight", config.hidden_size);
  // Without a word in config.json: transformers leaves out false, mlx-lm means true, and either
  // leaves the tensor out of a tied model.
  const bool tied = config.tie_word_embeddings.value_or(!checkpoint.find("lm_head.weight"));
  if (!tied) {
    weights.lm_head = resolve_linear(checkpoint, config, "lm_head", table);
  }
  return weights;
}

}  // namespace krserve
