// The weights of a decoder: every tensor found, its shape checked, its format resolved.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/ops/types.h"
#include "model/formats/checkpoint.h"
#include "model/formats/model_config.h"

namespace krserve {

// A matrix [n, k] as the kernels read it. Views point into the checkpoint.
struct LinearWeights {
  std::string module;  // "model.layers.3.self_attn.q_proj"
  ops::WeightArgs args{};
  TensorView weight;                 // quantized: u32 [n, k * bits / 32]; else [n, k]
  std::optional<TensorView> scales;  // quantized only, of args.scale_type: [n, k / group_size]
  std::optional<TensorView> biases;  // like scales: w = scale * q + bias
  std::vector<float> bias;           // [n], added to the product; empty when there is none

  bool quantized() const { return scales.has_value(); }
  // Bytes read to multiply by the whole matrix once.
  uint64_t bytes() const;
};

struct LayerWeights {
  std::vector<float> attention_norm;  // [hidden]
  LinearWeights q, k, v, o;
  std::vector<float> q_norm, k_norm;  // [head_dim]; empty without qk_norm
  std::vector<float> mlp_norm;        // [hidden]
  LinearWeights gate, up, down;
};

// Valid while the checkpoint lives.
struct DecoderWeights {
  LinearWeights embeddings;  // [vocab, hidden]
  std::vector<LayerWeights> layers;
  std::vector<float> final_norm;         // [hidden]
  std::optional<LinearWeights> lm_head;  // [vocab, hidden]; none when tied to the embeddings

  const LinearWeights& head() const { return lm_head ? *lm_head : embeddings; }
  // Bytes of all matrices; a tied embedding counts once.
  uint64_t bytes() const;
};

struct LinearShape {
  uint32_t n = 0;
  uint32_t k = 0;
  bool has_bias = false;
};

// Throws ModelError when the module is missing or does not have this shape.
LinearWeights resolve_linear(const Checkpoint& checkpoint, const ModelConfig& config,
                             const std::string& module, const LinearShape& shape);

// A 1-D f32, f16 or bf16 tensor of `size` elements as f32. Throws ModelError.
std::vector<float> read_vector(const Checkpoint& checkpoint, const std::string& name,
                               uint32_t size);

// Resolves all tensors that the architecture needs; others in the checkpoint are ignored.
DecoderWeights load_decoder_weights(const Checkpoint& checkpoint, const ModelConfig& config);

}  // namespace krserve
