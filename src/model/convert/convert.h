// krserve convert: a Hugging Face model in 16 or 32 bits to MLX's 4 or 8 bit format.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/units.h"
#include "model/formats/model_config.h"
#include "model/formats/safetensors.h"

namespace krserve {

struct ConvertOptions {
  Quantization quantization;
  // What the weights are rounded to before, and what stays plain is stored in: F32, F16 or BF16.
  // None: torch_dtype of config.json, else each tensor's own, as mlx-lm does.
  std::optional<Dtype> dtype;
  uint64_t shard_bytes = 5 * kGiB;  // most bytes of tensors in one file, as in mlx-lm
  uint32_t threads = 0;             // 0: one for each processor
  bool replace = false;             // a model directory that is there already
};

struct ConvertReport {
  uint64_t source_bytes = 0;  // of the tensors that were used
  uint64_t bytes = 0;         // of the tensors written
  uint64_t parameters = 0;
  size_t files = 0;
  // Matrices whose columns are no multiple of the group: mlx-lm leaves them as they are, too.
  std::vector<std::string> plain_modules;
  // Tensors of the source that the architecture has no use for.
  std::vector<std::string> unused_tensors;
};

// Called with the fraction done, 0 to 1, from one thread at a time; what it throws ends the work.
using ConvertProgress = std::function<void(double)>;

// Writes `target` with the tensors, shards and config.json that mlx_lm.convert -q writes, bit for
// bit, and copies the tokenizer's and other text files as they are. The directory appears under its
// name when it is complete. Needs memory for a few MiB of rows per thread, whatever the size of the
// model. Throws UsageError for bad options and targets; ModelError for a source that cannot be read
// or is quantized already, and when the disk is full; nothing is left behind then.
ConvertReport convert_model(const std::filesystem::path& source,
                            const std::filesystem::path& target, const ConvertOptions& options,
                            const ConvertProgress& progress = {});

}  // namespace krserve
