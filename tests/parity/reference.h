// Ops on the device under test beside the same on the CPU device.
#pragma once

#include <memory>
#include <random>
#include <vector>

#include "kernels/ops/types.h"
#include "parity/parity.h"

namespace krserve::parity {

using Floats = std::vector<float>;

// A buffer's contents, before or after a run.
struct Content {
  Bytes bytes;

  template <class T>
  static Content of(const std::vector<T>& values) {
    Content content;
    content.bytes.resize(values.size() * sizeof(T));
    if (!values.empty()) std::memcpy(content.bytes.data(), values.data(), content.bytes.size());
    return content;
  }
  template <class T>
  std::vector<T> as() const {
    std::vector<T> out(bytes.size() / sizeof(T));
    if (!out.empty()) std::memcpy(out.data(), bytes.data(), bytes.size());
    return out;
  }
};

struct OpCall {
  ops::Op op;
  Bytes args;
  std::vector<int> contents;  // of each binding: index into the contents, -1 for none
  bool barrier = true;        // after it

  template <class Args>
  static OpCall of(ops::Op op, const Args& args, std::vector<int> contents, bool barrier = true) {
    OpCall call{op, Bytes(sizeof(Args)), std::move(contents), barrier};
    std::memcpy(call.args.data(), &args, sizeof(Args));
    return call;
  }
};

// Runs the calls in one command buffer on the device and gives back what the buffers hold then.
std::vector<Content> run_calls(Device& device, const std::vector<OpCall>& calls,
                               const std::vector<Content>& contents);
// The same on the CPU device with its plainest kernels.
std::vector<Content> run_reference(const std::vector<OpCall>& calls,
                                   const std::vector<Content>& contents);

// ||a - b|| / ||b||; infinite if one holds what is not a number and the other does not.
double relative_error(const Floats& a, const Floats& b);

Floats random_floats(std::mt19937& random, size_t count, float scale = 1.0f);
Bytes random_bytes(std::mt19937& random, size_t count);
// Elements rounded to the type.
Bytes to_type(const Floats& values, ops::FloatType type);

// A weight with random contents; scales and biases are empty for float formats.
struct RandomWeight {
  ops::WeightArgs args;
  Content data, scales, biases;
};
RandomWeight random_weight(std::mt19937& random, ops::WeightArgs args);

}  // namespace krserve::parity
