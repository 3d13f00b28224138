#include "model/synth/synthesize.h"

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "model/formats/safetensors_writer.h"
#include "model/formats/staging_directory.h"
#include "model/formats/weights.h"
#include "model/synth/random_weights.h"
#include "model/synth/shapes.h"
#include "model/synth/tokenizer_files.h"

namespace krserve {
namespace {

using synth::RandomBits;
using synth::Shape;
using synth::Sink;

constexpr const char* kWhere = "model.synth";
// Logits get about this deviation: |h| = sqrt(hidden) after the last norm.
constexpr double kLogitDeviation = 3.0;
// Over 1/sqrt(k). These two keep greedy output from settling on one token: queries and keys large
// enough for attention to pick single positions, and a residual stream in which the embedding of
// the token itself (tied to the head) does not win.
constexpr double kQueryKeyGain = 2.0;
constexpr double kResidualGain = 4.0;
constexpr double kNormDeviation = 0.1;
constexpr double kBiasDeviation = 0.1;

struct Task {
  TensorSpec spec;
  std::function<void(const Sink&)> fill;
};

// Lists the tensors of a model together with how to fill each.
class TaskList {
 public:
  TaskList(const ModelConfig& config, uint64_t seed) : config_(config), seed_(seed) {
    const uint32_t hidden = config.hidden_size;
    const double embedding_deviation = kLogitDeviation / std::sqrt(hidden);
    add_matrix("model.embed_tokens", config.vocab_size, hidden, embedding_deviation);
    for (uint32_t i = 0; i < config.layers; ++i) add_layer(fmt::format("model.layers.{}.", i));
    add_vector("model.norm.weight", hidden, 1.0, kNormDeviation);
    if (!config.tie_word_embeddings.value_or(false)) {
      add_matrix("lm_head", config.vocab_size, hidden, embedding_deviation);
    }
  }

  const std::vector<Task>& tasks() const { return tasks_; }
  std::vector<TensorSpec> specs() const {
    std::vector<TensorSpec> result;
    for (const Task& task : tasks_) result.push_back(task.spec);
    return result;
  }

 private:
  void add_layer(const std::string& prefix) {
    const uint32_t hidden = config_.hidden_size;
    const uint32_t inner = config_.intermediate_size;
    add_vector(prefix + "input_layernorm.weight", hidden, 1.0, kNormDeviation);
    add_linear(prefix + "self_attn.q_proj", config_.q_size(), hidden, kQueryKeyGain);
    add_linear(prefix + "self_attn.k_proj", config_.kv_size(), hidden, kQueryKeyGain);
    add_linear(prefix + "self_attn.v_proj", config_.kv_size(), hidden, 1.0);
    add_linear(prefix + "self_attn.o_proj", hidden, config_.q_size(), kResidualGain);
    if (config_.qkv_bias) {
      add_vector(prefix + "self_attn.q_proj.bias", config_.q_size(), 0.0, kBiasDeviation);
      add_vector(prefix + "self_attn.k_proj.bias", config_.kv_size(), 0.0, kBiasDeviation);
      add_vector(prefix + "self_attn.v_proj.bias", config_.kv_size(), 0.0, kBiasDeviation);
    }
    if (config_.qk_norm) {
      add_vector(prefix + "self_attn.q_norm.weight", config_.head_dim, kQueryKeyGain,
                 kNormDeviation);
      add_vector(prefix + "self_attn.k_norm.weight", config_.head_dim, kQueryKeyGain,
                 kNormDeviation);
    }
    add_vector(prefix + "post_attention_layernorm.weight", hidden, 1.0, kNormDeviation);
    add_linear(prefix + "mlp.gate_proj", inner, hidden, 1.0);
    add_linear(prefix + "mlp.up_proj", inner, hidden, 1.0);
    add_linear(prefix + "mlp.down_proj", hidden, inner, kResidualGain);
  }

  // With gain 1 the product of a normed input has deviation 1.
  void add_linear(const std::string& module, uint32_t n, uint32_t k, double gain) {
    add_matrix(module, n, k, gain / std::sqrt(k));
  }

  void add_vector(const std::string& name, uint32_t size, double mean, double deviation) {
    add({name, Dtype::kBF16, {size}}, [=, random = RandomBits(seed_, name)](const Sink& sink) {
      synth::random_bf16(random, size, mean, deviation, sink);
    });
  }

  void add_matrix(const std::string& module, uint32_t n, uint32_t k, double deviation) {
    const RandomBits random(seed_, module + ".weight");
    if (!config_.quantization) {
      add({module + ".weight", Dtype::kBF16, {n, k}}, [=](const Sink& sink) {
        synth::random_bf16(random, uint64_t{n} * k, 0.0, deviation, sink);
      });
      return;
    }
    const auto [bits, group_size] = config_.quantization->base;
    const uint32_t words = k / (32 / bits);
    const uint32_t groups = k / group_size;
    add({module + ".weight", Dtype::kU32, {n, words}},
        [=](const Sink& sink) { synth::random_words(random, uint64_t{n} * words, sink); });
    const RandomBits scale_random(seed_, module + ".scales");
    for (const bool biases : {false, true}) {
      add({module + (biases ? ".biases" : ".scales"), Dtype::kBF16, {n, groups}},
          [=, width = bits](const Sink& sink) {
            synth::random_scales(scale_random, uint64_t{n} * groups, width, deviation, biases,
                                 sink);
          });
    }
  }

  void add(TensorSpec spec, std::function<void(const Sink&)> fill) {
    tasks_.push_back({std::move(spec), std::move(fill)});
  }

  const ModelConfig& config_;
  uint64_t seed_;
  std::vector<Task> tasks_;
};

void check_arguments(uint32_t bits, uint32_t group_size) {
  if (bits != 4 && bits != 8 && bits != 16) {
    throw_error<UsageError>(kWhere, "bits is {}; use 4, 8 or 16", bits);
  }
  if (bits != 16 && group_size != 32 && group_size != 64 && group_size != 128) {
    throw_error<UsageError>(kWhere, "group size is {}; use 32, 64 or 128", group_size);
  }
}

void write_text_files(const StagingDirectory& staging, const Shape& shape, uint32_t bits,
                      uint32_t group_size) {
  staging.write_text("config.json", synth::config_json(shape, bits, group_size));
  staging.write_text("generation_config.json", synth::generation_config_json(shape));
  staging.write_text("tokenizer.json", synth::tokenizer_json(shape));
  staging.write_text("tokenizer_config.json", synth::tokenizer_config_json(shape));
}

void write_weights(const StagingDirectory& staging, const ModelConfig& config, uint64_t seed,
                   const SynthProgress& progress) {
  const TaskList list(config, seed);
  const auto specs = list.specs();
  uint64_t total = 0;
  for (const TensorSpec& spec : specs) total += spec.bytes();
  staging.require_space(total);
  SafetensorsWriter writer(staging.path() / "model.safetensors", specs,
                           config.quantization ? "mlx" : "pt");
  const Sink sink = [&](const void* data, uint64_t bytes) {
    writer.append(data, bytes);
    if (progress)
      progress(static_cast<double>(writer.written_bytes()) / static_cast<double>(total));
  };
  for (const Task& task : list.tasks()) task.fill(sink);
  writer.finish();
}

}  // namespace

void synthesize(std::string_view shape, uint32_t bits, uint32_t group_size,
                const std::filesystem::path& out_dir, uint64_t seed,
                const SynthProgress& progress) {
  const Shape& model = synth::find_shape(shape);
  check_arguments(bits, group_size);
  StagingDirectory staging(kWhere, out_dir);
  write_text_files(staging, model, bits, group_size);
  const ModelConfig config = read_model_config(staging.path());
  write_weights(staging, config, seed, progress);
  load_decoder_weights(Checkpoint(staging.path()), config);  // what we write, we can read
  staging.commit();
}

}  // namespace krserve
