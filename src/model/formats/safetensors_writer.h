// Writer of one safetensors file, piece after piece or at offsets, with bounded memory.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "model/formats/safetensors.h"

namespace krserve {

struct TensorSpec {
  std::string name;
  Dtype dtype = Dtype::kF32;
  std::vector<int64_t> shape;

  uint64_t bytes() const;
};

// Throws ModelError when the disk is full or the path cannot be written.
class SafetensorsWriter {
 public:
  // Writes the header, padded so that the data starts at a multiple of 64 bytes.
  // `format` goes to the metadata: "pt" or "mlx".
  SafetensorsWriter(std::filesystem::path path, const std::vector<TensorSpec>& tensors,
                    const std::string& format);
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  // Data of the tensors in the order given, in pieces of any size.
  void append(const void* data, uint64_t bytes);
  // The same anywhere, from any thread; `offset` counts from the first tensor's first byte. Every
  // byte is written once.
  void write_at(uint64_t offset, const void* data, uint64_t bytes);
  // Closes the file. The bytes written must be exactly those of the tensors (asserted).
  void finish();

  uint64_t total_bytes() const noexcept { return total_bytes_; }
  uint64_t written_bytes() const noexcept { return written_bytes_; }

 private:
  void write_all(uint64_t position, const char* data, uint64_t bytes);

  std::filesystem::path path_;
  int fd_ = -1;
  uint64_t data_start_ = 0;   // where the first tensor begins
  uint64_t total_bytes_ = 0;  // of data, as is the next
  std::atomic<uint64_t> written_bytes_ = 0;
};

}  // namespace krserve
