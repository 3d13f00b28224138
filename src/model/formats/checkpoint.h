// The tensors of a model directory, from one safetensors file or an index with shards.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "model/formats/safetensors.h"

namespace krserve {

// Keeps every file mapped while it lives; views point into those maps. Movable, not copyable.
class Checkpoint {
 public:
  // Reads model.safetensors, else model.safetensors.index.json and the shards that it names, else
  // every model*.safetensors, as mlx-lm does. Throws ModelError.
  explicit Checkpoint(std::filesystem::path directory);

  const TensorView* find(std::string_view name) const;
  // Throws ModelError naming the tensor and the directory.
  const TensorView& require(std::string_view name) const;

  const std::filesystem::path& directory() const noexcept { return directory_; }
  std::span<const SafetensorsFile> files() const noexcept { return files_; }
  size_t size() const noexcept { return tensors_.size(); }
  // Bytes of all tensors, headers not counted.
  uint64_t bytes() const noexcept { return bytes_; }
  void advise(MapAdvice advice) const noexcept;

 private:
  void open_single(const std::filesystem::path& file);
  void open_index(const std::filesystem::path& index);
  void open_all(const std::vector<std::filesystem::path>& files);
  [[noreturn]] void refuse_without_weights() const;

  std::filesystem::path directory_;
  std::vector<SafetensorsFile> files_;
  std::map<std::string_view, const TensorView*> tensors_;
  uint64_t bytes_ = 0;
};

}  // namespace krserve
