// config.json, the index and the copied files of a converted model.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "model/convert/plan.h"

namespace krserve::convert {

// torch_dtype of config.json, where it is one of the three that mlx-lm casts to.
std::optional<Dtype> declared_dtype(const std::filesystem::path& source);

// The source's config.json as mlx-lm saves it: sorted, with "quantization" and, the same again,
// "quantization_config". One addition: tie_word_embeddings where it is missing, because
// transformers takes that for false and mlx-lm for true.
std::string config_text(const std::filesystem::path& source, const Quantization& quantization,
                        bool tied);

// model.safetensors.index.json, which mlx-lm writes for a single file, too.
std::string index_text(const Plan& plan);

// Tokenizer, chat template, generation_config.json, licence and the like: what mlx-lm downloads of
// a model, without weights, config.json, index and model card.
std::vector<std::filesystem::path> files_to_copy(const std::filesystem::path& source);

}  // namespace krserve::convert
