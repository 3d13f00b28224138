#include "cli/selftest/op_runs.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <limits>

#include "base/error.h"

namespace krserve::selftest {
namespace {

// Long enough that running into it is a failure, on a loaded machine and with validation too.
constexpr std::chrono::seconds kPatience{60};

void commit_and_wait(Device& device, Queue& queue, const std::shared_ptr<CommandBuffer>& commands) {
  const TimelinePoint done{device.new_timeline(), 1};
  queue.commit(commands, {}, {&done, 1});
  if (done.wait(kPatience) == WaitResult::kReached) return;
  throw_error<TimeoutError>("metal_selftest.run", "no end within {} s", kPatience.count());
}

void transfer(Device& device, QueueKind kind, const BufferView& dst, const BufferView& src) {
  const auto queue = device.new_queue(kind);
  const auto commands = queue->begin(CommandBufferUse::kOnce, "transfer");
  commands->copy(dst, src);
  commit_and_wait(device, *queue, commands);
}

void encode(CommandBuffer& commands, const OpCall& call, const std::vector<BufferView>& views) {
  switch (call.kind) {
    case OpCall::Kind::kDispatch:
      commands.dispatch(call.op, call.args.data(), static_cast<uint32_t>(call.args.size()), views);
      break;
    case OpCall::Kind::kCopy:
      commands.copy(views[0].sub(call.to_offset, call.bytes),
                    views[1].sub(call.from_offset, call.bytes));
      break;
    case OpCall::Kind::kFill:
      commands.fill(views[0].sub(call.to_offset, call.bytes), call.value);
      break;
  }
  if (call.barrier) commands.barrier();
}

uint16_t round_bf16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fffU + (bits >> 16 & 1U)) >> 16);
}

uint16_t round_f16(float value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const float magnitude = std::fabs(value);
  if (magnitude == 0) return sign;
  int exponent = 0;
  std::frexp(magnitude, &exponent);
  const int unit = std::max(exponent - 11, -24);
  const auto units = static_cast<int>(std::nearbyint(std::ldexp(magnitude, -unit)));
  return static_cast<uint16_t>(sign | (units + (unit + 24) * 1024));
}

float from_f16(uint16_t half) {
  const int exponent = half >> 10 & 0x1f;
  const int fraction = half & 0x3ff;
  float value = 0;
  if (exponent == 0x1f) {
    value =
        fraction ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
  } else if (exponent == 0) {
    value = std::ldexp(static_cast<float>(fraction), -24);
  } else {
    value = std::ldexp(static_cast<float>(fraction + 1024), exponent - 25);
  }
  return half & 0x8000 ? -value : value;
}

}  // namespace

OpCall OpCall::copy(int to, uint64_t to_offset, int from, uint64_t from_offset, uint64_t bytes) {
  OpCall call;
  call.kind = Kind::kCopy;
  call.contents = {to, from};
  call.to_offset = to_offset;
  call.from_offset = from_offset;
  call.bytes = bytes;
  return call;
}

OpCall OpCall::fill(int to, uint64_t to_offset, uint64_t bytes, uint8_t value) {
  OpCall call;
  call.kind = Kind::kFill;
  call.contents = {to};
  call.to_offset = to_offset;
  call.bytes = bytes;
  call.value = value;
  return call;
}

std::shared_ptr<Device> open_back_end(const std::string& name, MetalPath path) {
  DeviceOptions options;
  options.backend = name;
  options.metal.path = path;
  return make_device(options);
}

std::vector<Content> run_calls(Device& device, const std::vector<OpCall>& calls,
                               const std::vector<Content>& contents) {
  std::vector<std::unique_ptr<Buffer>> buffers;
  std::vector<Content> out = contents;
  for (Content& content : out) {
    buffers.push_back(
        device.new_buffer(std::max<size_t>(16, content.bytes.size()), Storage::kPrivate));
    if (content.bytes.empty()) continue;
    const auto host = device.new_host_view(content.bytes.data(), content.bytes.size());
    transfer(device, QueueKind::kCopyToDevice, whole(*buffers.back()), whole(*host));
  }
  const auto queue = device.new_queue(QueueKind::kCompute);
  const auto commands = queue->begin(CommandBufferUse::kRecorded, "ops");
  for (const OpCall& call : calls) {
    std::vector<BufferView> views;
    for (const int index : call.contents) {
      const auto i = static_cast<size_t>(index);
      views.push_back(index < 0 ? BufferView{} : whole(*buffers[i]).sub(0, out[i].bytes.size()));
    }
    encode(*commands, call, views);
  }
  commit_and_wait(device, *queue, commands);
  for (size_t i = 0; i < out.size(); ++i) {
    if (out[i].bytes.empty()) continue;
    const auto host = device.new_host_view(out[i].bytes.data(), out[i].bytes.size());
    transfer(device, QueueKind::kCopyToHost, whole(*host), whole(*buffers[i]));
  }
  return out;
}

double relative_error(const Floats& a, const Floats& b) {
  double difference = 0, magnitude = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isfinite(a[i]) != std::isfinite(b[i])) return std::numeric_limits<double>::infinity();
    if (!std::isfinite(a[i])) continue;
    difference += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    magnitude += double{b[i]} * b[i];
  }
  return std::sqrt(difference / std::max(magnitude, 1e-30));
}

Floats random_floats(std::mt19937& random, size_t count, float scale) {
  // The sum of four uniform values: mean 4 * 2^31, deviation 2^32 / sqrt(3).
  constexpr double kMean = 8589934592.0, kDeviation = 2479700524.6;
  Floats out(count);
  for (float& value : out) {
    double sum = 0;
    for (int i = 0; i < 4; ++i) sum += static_cast<double>(random());
    value = static_cast<float>((sum - kMean) / kDeviation * scale);
  }
  return out;
}

Bytes random_bytes(std::mt19937& random, size_t count) {
  Bytes out(count);
  for (uint8_t& value : out) value = static_cast<uint8_t>(random());
  return out;
}

Bytes to_type(const Floats& values, ops::FloatType type) {
  if (type == ops::FloatType::kF32) return Content::of(values).bytes;
  std::vector<uint16_t> out;
  out.reserve(values.size());
  for (const float value : values) {
    out.push_back(type == ops::FloatType::kF16 ? round_f16(value) : round_bf16(value));
  }
  return Content::of(out).bytes;
}

Floats from_type(const Bytes& bytes, ops::FloatType type) {
  if (type == ops::FloatType::kF32) return Content{bytes}.as<float>();
  Floats out;
  for (const uint16_t bits : Content{bytes}.as<uint16_t>()) {
    out.push_back(type == ops::FloatType::kF16 ? from_f16(bits)
                                               : std::bit_cast<float>(uint32_t{bits} << 16));
  }
  return out;
}

RandomWeight random_weight(std::mt19937& random, ops::WeightArgs args) {
  RandomWeight out{args, {}, {}, {}};
  const size_t count = size_t{args.n} * args.k;
  const bool q4 = args.format == ops::WeightFormat::kQ4;
  if (!q4 && args.format != ops::WeightFormat::kQ8) {
    const auto type = static_cast<ops::FloatType>(args.format);
    static_assert(static_cast<int>(ops::WeightFormat::kF16) ==
                  static_cast<int>(ops::FloatType::kF16));
    static_assert(static_cast<int>(ops::WeightFormat::kBF16) ==
                  static_cast<int>(ops::FloatType::kBF16));
    out.data.bytes = to_type(random_floats(random, count), type);
    return out;
  }
  out.data.bytes = random_bytes(random, q4 ? count / 2 : count);
  const float top = q4 ? 15.0F : 255.0F;
  const Floats scales = random_floats(random, count / args.group_size, 0.02F);
  Floats biases = scales;
  for (size_t i = 0; i < scales.size(); ++i) {
    biases[i] = -scales[i] * top * (0.3F + 0.4F * static_cast<float>(random() % 1000) / 1000.0F);
  }
  out.scales.bytes = to_type(scales, args.scale_type);
  out.biases.bytes = to_type(biases, args.scale_type);
  return out;
}

}  // namespace krserve::selftest
