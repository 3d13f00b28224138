// The forward pass of Qwen2, Qwen3 and Llama decoders as commands for the device.
#pragma once

#include <memory>
#include <vector>

#include "device/queue.h"
#include "kernels/ops/kv_layout.h"
#include "kernels/ops/step_params.h"
#include "model/decoder/device_weights.h"
#include "model/formats/model_config.h"
#include "runtime/memory_pool/static_plan.h"

namespace krserve {

// How many rows and samples a step's buffers hold, and what its commands can do.
struct StepCapacity {
  uint32_t rows = 0;
  uint32_t samples = 0;
  bool prompts = false;  // some rows may take DeviceInfo::prompt_matmul

  bool operator==(const StepCapacity&) const = default;
};

// Everything a step reads and writes besides weights. f32 unless said otherwise.
struct StepBuffers {
  BufferView step_params;   // ops::StepHeader and what follows it
  BufferView last_token;    // i32 [slots]
  BufferView token_counts;  // u16 [slots, vocab]
  BufferView sampled;       // i32 [samples]
  std::vector<BufferView> kv_segments;

  BufferView hidden;       // [rows, hidden], the residual stream
  BufferView attn_normed;  // [rows, hidden]
  BufferView q;            // [rows, heads * head_dim]
  BufferView k;            // [rows, kv_heads * head_dim]
  BufferView v;            // [rows, kv_heads * head_dim]
  BufferView attended;     // [rows, heads * head_dim]
  BufferView mlp_normed;   // [rows, hidden]
  BufferView gate;         // [rows, intermediate]
  BufferView up;           // [rows, intermediate]
  BufferView last_hidden;  // [samples, hidden]
  BufferView logits;       // [samples, vocab]
};

// The activations of a step with their lifetimes; names are StepBuffers' fields.
std::vector<runtime::PlannedTensor> activation_tensors(const ModelConfig& config,
                                                       StepCapacity capacity);
// Sets the activation field of that name.
void set_activation(StepBuffers& buffers, const std::string& name, const BufferView& view);
// Cuts the activations down to what a step of this capacity uses: back ends that launch grids take
// the capacity from the views.
void trim_activations(StepBuffers& buffers, const ModelConfig& config, StepCapacity capacity);

class Decoder {
 public:
  Decoder(ModelConfig config, std::shared_ptr<const DeviceWeights> weights, ops::KvLayout kv);

  const ModelConfig& config() const { return config_; }
  const DeviceWeights& weights() const { return *weights_; }

  // One step: embeddings to sampled tokens. The commands bind `buffers` and the weights for good.
  void encode(CommandBuffer& commands, const StepBuffers& buffers, StepCapacity capacity) const;

 private:
  struct Encoder;

  ModelConfig config_;
  std::shared_ptr<const DeviceWeights> weights_;
  ops::KvLayout kv_;
};

}  // namespace krserve
