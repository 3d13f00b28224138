// Reader of one safetensors file: checks the header and gives views into the mapped data.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/formats/mapped_file.h"

namespace krserve {

enum class Dtype {
  kBool,
  kU8,
  kI8,
  kF8E4M3,
  kF8E5M2,
  kU16,
  kI16,
  kF16,
  kBF16,
  kU32,
  kI32,
  kF32,
  kU64,
  kI64,
  kF64
};

uint64_t bytes_of(Dtype dtype);
// The format's own names: "F32", "BF16", "U32" ...
std::string_view to_string(Dtype dtype);

// "[4864, 112]"
std::string format_shape(std::span<const int64_t> shape);

// A tensor, row-major, little endian, inside memory that its SafetensorsFile owns.
struct TensorView {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;
  const std::byte* data = nullptr;  // any address: MLX does not pad its headers
  uint64_t bytes = 0;
};

using TensorTable = std::map<std::string, TensorView, std::less<>>;

// Format: https://huggingface.co/docs/safetensors. Throws ModelError for whatever does not fit it.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const noexcept { return file_.path(); }
  const MappedFile& file() const noexcept { return file_; }
  const TensorTable& tensors() const noexcept { return tensors_; }
  const TensorView* find(std::string_view name) const;

 private:
  void read_header();
  void check_overlaps() const;

  MappedFile file_;
  TensorTable tensors_;
};

}  // namespace krserve
