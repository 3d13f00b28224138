// Reads rows of a source tensor, rounds or quantizes them, and writes them to their shards.
#pragma once

#include <memory>
#include <vector>

#include "model/convert/plan.h"

namespace krserve::convert {

using Writers = std::vector<std::unique_ptr<SafetensorsWriter>>;

// A part of an item: rows of a matrix to quantize, else elements.
struct Task {
  const Item* item = nullptr;
  uint64_t begin = 0;
  uint64_t end = 0;

  uint64_t source_bytes() const;
};

// The items in pieces of about 4 MiB of the source.
std::vector<Task> split(const Plan& plan);

// One thread's buffers.
class RowConverter {
 public:
  RowConverter(const Checkpoint& checkpoint, const Writers& writers)
      : checkpoint_(checkpoint), writers_(writers) {}

  // Throws ModelError for a value that is not finite, or too large for the dtype, and when the
  // disk is full.
  void run(const Task& task);

 private:
  void quantize(const Task& task);
  void round(const Task& task);
  // Elements of the source as f32 rounded to the item's dtype, into values_.
  void load(const Item& item, uint64_t begin, uint64_t count);
  void write(const Output& output, uint64_t begin, const std::vector<float>& values);
  void release(const TensorView& source, uint64_t begin, uint64_t end) const;

  const Checkpoint& checkpoint_;
  const Writers& writers_;
  std::vector<float> values_;
  std::vector<uint32_t> words_;
  std::vector<float> scales_;
  std::vector<float> biases_;
  std::vector<uint16_t> halves_;
};

}  // namespace krserve::convert
