#include <gtest/gtest.h>

#include "model/decoder/decoder.h"

namespace krserve {
namespace {

ModelConfig small_model() {
  ModelConfig config;
  config.hidden_size = 64;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 16;
  config.intermediate_size = 160;
  config.vocab_size = 300;
  return config;
}

// Views at different offsets of one buffer, as the static plan gives them.
StepBuffers views_for(const ModelConfig& config, StepCapacity capacity) {
  StepBuffers buffers;
  uint64_t offset = 256;
  for (const auto& tensor : activation_tensors(config, capacity)) {
    set_activation(buffers, tensor.name, {nullptr, offset, tensor.bytes});
    offset += 2 * tensor.bytes;
  }
  return buffers;
}

uint64_t bytes_of_all(const StepBuffers& b) {
  return b.hidden.bytes + b.attn_normed.bytes + b.q.bytes + b.k.bytes + b.v.bytes +
         b.attended.bytes + b.mlp_normed.bytes + b.gate.bytes + b.up.bytes + b.last_hidden.bytes +
         b.logits.bytes;
}

// A back end that launches grids takes the rows of a recording from the views.
TEST(Activations, TrimmedViewsHoldTheCapacityOfTheRecordingAndStayWhereTheyWere) {
  const ModelConfig config = small_model();
  const StepBuffers largest = views_for(config, {512, 32});
  for (const StepCapacity capacity :
       {StepCapacity{1, 1}, StepCapacity{64, 2}, StepCapacity{512, 32}}) {
    StepBuffers trimmed = largest;
    trim_activations(trimmed, config, capacity);
    EXPECT_EQ(trimmed.hidden.bytes, uint64_t{capacity.rows} * config.hidden_size * 4);
    EXPECT_EQ(trimmed.k.bytes, uint64_t{capacity.rows} * config.kv_size() * 4);
    EXPECT_EQ(trimmed.gate.bytes, uint64_t{capacity.rows} * config.intermediate_size * 4);
    EXPECT_EQ(trimmed.logits.bytes, uint64_t{capacity.samples} * config.vocab_size * 4);
    EXPECT_EQ(bytes_of_all(trimmed), bytes_of_all(views_for(config, capacity)));
    EXPECT_EQ(trimmed.gate.offset, largest.gate.offset);
    EXPECT_EQ(trimmed.logits.offset, largest.logits.offset);
  }
}

}  // namespace
}  // namespace krserve
