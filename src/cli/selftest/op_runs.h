// Ops on a device beside the same on another: buffers' contents, lists of calls, random inputs.
#pragma once

#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "device/device.h"
#include "kernels/ops/types.h"

namespace krserve::selftest {

using Bytes = std::vector<uint8_t>;
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
    if (!out.empty()) std::memcpy(out.data(), bytes.data(), out.size() * sizeof(T));
    return out;
  }
};

// A dispatch, a copy or a fill of a command buffer.
struct OpCall {
  enum class Kind { kDispatch, kCopy, kFill };

  Kind kind = Kind::kDispatch;
  ops::Op op{};
  Bytes args;
  // Of each binding: index into the contents, -1 for none. Of a copy: to, from; of a fill: to.
  std::vector<int> contents;
  bool barrier = true;  // after it
  uint64_t to_offset = 0;
  uint64_t from_offset = 0;
  uint64_t bytes = 0;
  uint8_t value = 0;

  template <class Args>
  static OpCall of(ops::Op op, const Args& args, std::vector<int> contents, bool barrier = true) {
    OpCall call;
    call.op = op;
    call.args.resize(sizeof(Args));
    std::memcpy(call.args.data(), &args, sizeof(Args));
    call.contents = std::move(contents);
    call.barrier = barrier;
    return call;
  }
  static OpCall copy(int to, uint64_t to_offset, int from, uint64_t from_offset, uint64_t bytes);
  static OpCall fill(int to, uint64_t to_offset, uint64_t bytes, uint8_t value);
};

// Of the back end, with its other options as they are by default. Throws DeviceError.
std::shared_ptr<Device> open_back_end(const std::string& name, MetalPath path = MetalPath::kAuto);

// Runs the calls in one command buffer on the device and gives back what the buffers hold then.
// Throws DeviceError, and TimeoutError if the device does not come to an end.
std::vector<Content> run_calls(Device& device, const std::vector<OpCall>& calls,
                               const std::vector<Content>& contents);

// ||a - b|| / ||b||; infinite if one holds what is not a number and the other does not.
double relative_error(const Floats& a, const Floats& b);

// About normal, the same on every machine: what fails on one can be looked at on another.
Floats random_floats(std::mt19937& random, size_t count, float scale = 1.0F);
Bytes random_bytes(std::mt19937& random, size_t count);
// Elements rounded to the type, and back.
Bytes to_type(const Floats& values, ops::FloatType type);
Floats from_type(const Bytes& bytes, ops::FloatType type);

// A weight with random contents; scales and biases are empty for float formats.
struct RandomWeight {
  ops::WeightArgs args;
  Content data, scales, biases;
};
RandomWeight random_weight(std::mt19937& random, ops::WeightArgs args);

}  // namespace krserve::selftest
