// Reads rows of a source tensor, rounds or quantizes them, and writes them to their shards.
#pragma once

#include <memory>
#include <vector>

#include "model/convert/plan.h"
#include "model/formats/file_reader.h"

namespace krserve::convert {

using Writers = std::vector<std::unique_ptr<SafetensorsWriter>>;

// A part of an item: rows of a matrix to quantize, else elements.
struct Task {
  const Item* item = nullptr;
  uint64_t begin = 0;
  uint64_t end = 0;

  uint64_t first_element() const;
  uint64_t source_bytes() const;
};

// The items in pieces of about 4 MiB of the source.
std::vector<Task> split(const Plan& plan);

// The checkpoint's files, read by pread: pages of a map that were touched would count as memory.
class Sources {
 public:
  // The checkpoint outlives the object.
  explicit Sources(const Checkpoint& checkpoint);
  // From any thread. Throws ModelError when a file has become shorter or cannot be read.
  void read(const TensorView& view, uint64_t offset, std::vector<std::byte>& out) const;

 private:
  const Checkpoint& checkpoint_;
  std::vector<FileReader> readers_;  // in the order of the checkpoint's files
};

// One thread's buffers.
class RowConverter {
 public:
  RowConverter(const Sources& sources, const Writers& writers)
      : sources_(sources), writers_(writers) {}

  // Throws ModelError for a value that is not finite, or too large for the dtype, and when the
  // disk is full.
  void run(const Task& task);

 private:
  void quantize(const Task& task);
  void round(const Task& task);
  // Elements `begin` .. of the task, as f32 rounded to the item's dtype, into values_.
  void widen(const Task& task, uint64_t begin, uint64_t count);
  void write(const Output& output, uint64_t begin, const std::vector<float>& values);

  const Sources& sources_;
  const Writers& writers_;
  std::vector<std::byte> source_;  // the task's bytes
  std::vector<float> values_;
  std::vector<uint32_t> words_;
  std::vector<float> scales_;
  std::vector<float> biases_;
  std::vector<uint16_t> halves_;
};

}  // namespace krserve::convert
