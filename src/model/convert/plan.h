// What a conversion writes: every tensor, from which source, into which file, at which offset.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/convert/convert.h"
#include "model/formats/checkpoint.h"
#include "model/formats/safetensors_writer.h"

namespace krserve::convert {

struct Output {
  TensorSpec spec;
  size_t shard = 0;
  uint64_t offset = 0;  // from the first tensor of the shard
};

// One tensor of the source. Plain: one output of `dtype`. Quantized, a matrix: three, weight,
// scales and biases, the latter two of `dtype`.
struct Item {
  const TensorView* source = nullptr;
  Dtype dtype = Dtype::kBF16;
  std::optional<Quantization> quantization;
  std::vector<Output> outputs;
};

struct Plan {
  std::vector<Item> items;  // in mlx-lm's order, which decides what is in which shard
  std::vector<std::vector<TensorSpec>> shards;
  ConvertReport report;
  bool tied = false;

  std::string shard_name(size_t index) const;
};

// The views belong to `checkpoint`. `dtype`: see ConvertOptions. Throws ModelError when the tensors
// do not fit the configuration or nothing can be quantized.
Plan make_plan(const Checkpoint& checkpoint, const ModelConfig& config,
               const ConvertOptions& options, std::optional<Dtype> dtype);

}  // namespace krserve::convert
