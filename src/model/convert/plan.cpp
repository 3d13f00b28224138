#include "model/convert/plan.h"

#include <set>
#include <utility>

#include "base/error.h"
#include "model/formats/weights.h"

namespace krserve::convert {
namespace {

constexpr const char* kWhere = "model.convert";
constexpr uint32_t kWordBits = 32;

class Planner {
 public:
  Planner(const Checkpoint& checkpoint, const ConvertOptions& options, std::optional<Dtype> dtype)
      : checkpoint_(checkpoint), options_(options), dtype_(dtype) {}

  void add_decoder(const DecoderWeights& weights) {
    add_matrix(weights.embeddings);
    for (size_t i = 0; i < weights.layers.size(); ++i) {
      add_layer(fmt::format("model.layers.{}.", i), weights.layers[i]);
    }
    add_plain("model.norm.weight");
    if (weights.lm_head) add_matrix(*weights.lm_head);
    plan_.tied = !weights.lm_head;
  }

  Plan finish() {
    check_quantized();
    for (const auto& file : checkpoint_.files()) {
      for (const auto& [name, view] : file.tensors()) {
        if (!used_.contains(name)) plan_.report.unused_tensors.push_back(name);
      }
    }
    plan_.report.files = plan_.shards.size();
    return std::move(plan_);
  }

 private:
  void add_layer(const std::string& prefix, const LayerWeights& layer) {
    for (const auto* linear : {&layer.q, &layer.k, &layer.v, &layer.o}) add_matrix(*linear);
    if (!layer.q_norm.empty()) {
      add_plain(prefix + "self_attn.q_norm.weight");
      add_plain(prefix + "self_attn.k_norm.weight");
    }
    for (const auto* linear : {&layer.gate, &layer.down, &layer.up}) add_matrix(*linear);
    add_plain(prefix + "input_layernorm.weight");
    add_plain(prefix + "post_attention_layernorm.weight");
  }

  void add_matrix(const LinearWeights& linear) {
    if (linear.args.k % options_.quantization.group_size == 0) {
      add_quantized(linear);
    } else {
      plan_.report.plain_modules.push_back(linear.module);
      add_plain(linear.weight.name);
    }
    if (!linear.bias.empty()) add_plain(linear.module + ".bias");
  }

  void add_quantized(const LinearWeights& linear) {
    const auto [bits, group_size] = options_.quantization;
    const int64_t n = linear.args.n;
    const int64_t k = linear.args.k;
    Item& item = add_item(linear.weight.name);
    item.quantization = options_.quantization;
    add_output(item, {linear.module + ".weight", Dtype::kU32, {n, k * bits / kWordBits}});
    for (const char* table : {".scales", ".biases"}) {
      add_output(item, {linear.module + table, item.dtype, {n, k / group_size}});
    }
    ++quantized_;
  }

  void add_plain(const std::string& name) {
    Item& item = add_item(name);
    add_output(item, {name, item.dtype, item.source->shape});
  }

  Item& add_item(const std::string& name) {
    const TensorView& source = checkpoint_.require(name);
    used_.insert(name);
    plan_.report.source_bytes += source.bytes;
    plan_.report.parameters += source.bytes / bytes_of(source.dtype);
    return plan_.items.emplace_back(Item{&source, dtype_.value_or(source.dtype), {}, {}});
  }

  // A tensor that is larger than a shard gets one of its own.
  void add_output(Item& item, TensorSpec spec) {
    const uint64_t bytes = spec.bytes();
    if (plan_.shards.empty() || shard_bytes_ + bytes > options_.shard_bytes) {
      plan_.shards.emplace_back();
      shard_bytes_ = 0;
    }
    plan_.shards.back().push_back(spec);
    item.outputs.push_back({std::move(spec), plan_.shards.size() - 1, shard_bytes_});
    shard_bytes_ += bytes;
    plan_.report.bytes += bytes;
  }

  void check_quantized() const {
    if (quantized_ > 0) return;
    throw_error<ModelError>(kWhere,
                            "{}: none of {} matrices has columns in multiples of the group size "
                            "{}; use a smaller group",
                            checkpoint_.directory().string(), plan_.report.plain_modules.size(),
                            options_.quantization.group_size);
  }

  const Checkpoint& checkpoint_;
  const ConvertOptions& options_;
  std::optional<Dtype> dtype_;
  Plan plan_;
  std::set<std::string> used_;
  uint64_t shard_bytes_ = 0;  // of the last shard
  size_t quantized_ = 0;
};

}  // namespace

std::string Plan::shard_name(size_t index) const {
  if (shards.size() == 1) return "model.safetensors";
  return fmt::format("model-{:05}-of-{:05}.safetensors", index + 1, shards.size());
}

Plan make_plan(const Checkpoint& checkpoint, const ModelConfig& config,
               const ConvertOptions& options, std::optional<Dtype> dtype) {
  Planner planner(checkpoint, options, dtype);
  planner.add_decoder(load_decoder_weights(checkpoint, config));
  return planner.finish();
}

}  // namespace krserve::convert
