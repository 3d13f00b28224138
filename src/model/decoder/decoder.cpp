#include "model/decoder/decoder.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/ops/embed_rows.h"
#include "kernels/ops/gather_rows.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/paged_attention.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/rope_kv_write.h"
#include "kernels/ops/sample.h"
#include "kernels/ops/silu_mul.h"

namespace krserve {
namespace {

using ops::Op;
using ops::RowCount;

// Stages of a step, for lifetimes. A layer's stages repeat, so one layer stands for all.
enum Stage : uint32_t {
  kEmbed,
  kAttentionNorm,
  kQkv,
  kRope,
  kAttention,
  kAttentionOut,
  kMlpNorm,
  kGateUp,
  kSilu,
  kDown,
  kGather,
  kHeadNorm,
  kLogits,
  kSample,
};

}  // namespace

std::vector<runtime::PlannedTensor> activation_tensors(const ModelConfig& config,
                                                       StepCapacity capacity) {
  const auto f32 = [](uint64_t rows, uint64_t columns) { return rows * columns * sizeof(float); };
  const uint64_t rows = capacity.rows;
  const uint64_t samples = capacity.samples;
  return {
      {"hidden", f32(rows, config.hidden_size), kEmbed, kGather},
      {"attn_normed", f32(rows, config.hidden_size), kAttentionNorm, kQkv},
      {"q", f32(rows, config.q_size()), kQkv, kAttention},
      {"k", f32(rows, config.kv_size()), kQkv, kRope},
      {"v", f32(rows, config.kv_size()), kQkv, kRope},
      {"attended", f32(rows, config.q_size()), kAttention, kAttentionOut},
      {"mlp_normed", f32(rows, config.hidden_size), kMlpNorm, kGateUp},
      {"gate", f32(rows, config.intermediate_size), kGateUp, kDown},
      {"up", f32(rows, config.intermediate_size), kGateUp, kSilu},
      {"last_hidden", f32(samples, config.hidden_size), kGather, kLogits},
      {"logits", f32(samples, config.vocab_size), kLogits, kSample},
  };
}

namespace {

constexpr std::array<std::pair<const char*, BufferView StepBuffers::*>, 11> kActivations = {{
    {"hidden", &StepBuffers::hidden},
    {"attn_normed", &StepBuffers::attn_normed},
    {"q", &StepBuffers::q},
    {"k", &StepBuffers::k},
    {"v", &StepBuffers::v},
    {"attended", &StepBuffers::attended},
    {"mlp_normed", &StepBuffers::mlp_normed},
    {"gate", &StepBuffers::gate},
    {"up", &StepBuffers::up},
    {"last_hidden", &StepBuffers::last_hidden},
    {"logits", &StepBuffers::logits},
}};

}  // namespace

void set_activation(StepBuffers& buffers, const std::string& name, const BufferView& view) {
  for (const auto& [field, member] : kActivations) {
    if (name == field) buffers.*member = view;
  }
}

void trim_activations(StepBuffers& buffers, const ModelConfig& config, StepCapacity capacity) {
  for (const runtime::PlannedTensor& tensor : activation_tensors(config, capacity)) {
    for (const auto& [field, member] : kActivations) {
      if (tensor.name == field) buffers.*member = (buffers.*member).sub(0, tensor.bytes);
    }
  }
}

// The ops with their Args filled in, so that encode() reads as the model.
struct Decoder::Encoder {
  const Decoder& decoder;
  CommandBuffer& commands;
  const StepBuffers& b;
  ops::StepLayout layout;
  bool prompts;

  const ModelConfig& config() const { return decoder.config_; }

  void embed(const DeviceLinear& table, const BufferView& out) {
    const ops::EmbedRowsArgs args{table.args, layout};
    const std::array views{b.step_params, table.weight, table.scales,
                           table.biases,  b.last_token, out};
    commands.dispatch(Op::kEmbedRows, args, views);
  }

  void rms_norm(const BufferView& x, const BufferView& weight, const BufferView& out,
                RowCount rows) {
    const ops::RmsNormArgs args{config().hidden_size, static_cast<float>(config().rms_norm_eps),
                                rows};
    const std::array views{b.step_params, x, weight, out};
    commands.dispatch(Op::kRmsNorm, args, views);
  }

  void matmul(const DeviceLinear& linear, const BufferView& x, const BufferView& y, RowCount rows,
              uint32_t flags = 0) {
    if (linear.bias) flags |= ops::kMatmulBias;
    if (prompts && rows == RowCount::kRows) flags |= ops::kMatmulPrompts;
    const ops::MatmulArgs args{linear.args, rows, flags};
    const std::array views{b.step_params, x, linear.weight, linear.scales, linear.biases,
                           linear.bias,   y};
    commands.dispatch(Op::kMatmul, args, views);
  }

  void rope_and_cache(const DeviceLayer& layer, ops::KvLayout kv) {
    const ops::RopeKvWriteArgs args{kv, layout, config().heads, config().qk_norm ? 1U : 0U,
                                    static_cast<float>(config().rms_norm_eps)};
    std::vector<BufferView> views{
        b.step_params, b.q, b.k, b.v, decoder.weights_->rope_table(), layer.q_norm, layer.k_norm};
    views.insert(views.end(), b.kv_segments.begin(), b.kv_segments.end());
    commands.dispatch(Op::kRopeKvWrite, args, views);
  }

  void attention(ops::KvLayout kv) {
    const float scale = 1.0F / std::sqrt(static_cast<float>(config().head_dim));
    const ops::PagedAttentionArgs args{kv, layout, config().heads, scale};
    std::vector<BufferView> views{b.step_params, b.q, b.attended};
    views.insert(views.end(), b.kv_segments.begin(), b.kv_segments.end());
    commands.dispatch(Op::kPagedAttention, args, views);
  }

  void silu_mul() {
    const ops::SiluMulArgs args{config().intermediate_size, RowCount::kRows};
    const std::array views{b.step_params, b.gate, b.up};
    commands.dispatch(Op::kSiluMul, args, views);
  }

  void gather_sampled_rows() {
    const ops::GatherRowsArgs args{layout, config().hidden_size};
    const std::array views{b.step_params, b.hidden, b.last_hidden};
    commands.dispatch(Op::kGatherRows, args, views);
  }

  void count_tokens() {
    const ops::CountTokensArgs args{layout, config().vocab_size};
    const std::array views{b.step_params, b.token_counts};
    commands.dispatch(Op::kCountTokens, args, views);
  }

  void sample() {
    const ops::SampleArgs args{layout, config().vocab_size};
    const std::array views{b.step_params, b.logits, b.token_counts, b.last_token, b.sampled};
    commands.dispatch(Op::kSample, args, views);
  }

  void layer(const DeviceLayer& w, ops::KvLayout kv) {
    rms_norm(b.hidden, w.attention_norm, b.attn_normed, RowCount::kRows);
    commands.barrier();
    matmul(w.q, b.attn_normed, b.q, RowCount::kRows);
    matmul(w.k, b.attn_normed, b.k, RowCount::kRows);
    matmul(w.v, b.attn_normed, b.v, RowCount::kRows);
    commands.barrier();
    rope_and_cache(w, kv);
    commands.barrier();
    attention(kv);
    commands.barrier();
    matmul(w.o, b.attended, b.hidden, RowCount::kRows, ops::kMatmulAccumulate);
    commands.barrier();
    rms_norm(b.hidden, w.mlp_norm, b.mlp_normed, RowCount::kRows);
    commands.barrier();
    matmul(w.gate, b.mlp_normed, b.gate, RowCount::kRows);
    matmul(w.up, b.mlp_normed, b.up, RowCount::kRows);
    commands.barrier();
    silu_mul();
    commands.barrier();
    matmul(w.down, b.gate, b.hidden, RowCount::kRows, ops::kMatmulAccumulate);
    commands.barrier();
  }
};

Decoder::Decoder(ModelConfig config, std::shared_ptr<const DeviceWeights> weights, ops::KvLayout kv)
    : config_(std::move(config)), weights_(std::move(weights)), kv_(kv) {}

void Decoder::encode(CommandBuffer& commands, const StepBuffers& buffers,
                     StepCapacity capacity) const {
  Encoder e{*this, commands, buffers, ops::step_layout(capacity.rows, capacity.samples),
            capacity.prompts};
  e.count_tokens();
  e.embed(weights_->embeddings(), buffers.hidden);
  commands.barrier();
  ops::KvLayout kv = kv_;
  for (kv.layer = 0; kv.layer < config_.layers; ++kv.layer) {
    e.layer(weights_->layers()[kv.layer], kv);
  }
  e.gather_sampled_rows();
  commands.barrier();
  e.rms_norm(buffers.last_hidden, weights_->final_norm(), buffers.last_hidden, RowCount::kSamples);
  commands.barrier();
  e.matmul(weights_->head(), buffers.last_hidden, buffers.logits, RowCount::kSamples);
  commands.barrier();
  e.sample();
}

}  // namespace krserve
