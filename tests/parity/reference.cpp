#include "parity/reference.h"

#include <cmath>
#include <limits>

#include "device/cpu/cpu_device.h"

namespace krserve::parity {
namespace {

void transfer(Device& device, QueueKind kind, const BufferView& dst, const BufferView& src) {
  auto queue = device.new_queue(kind);
  auto commands = queue->begin(CommandBufferUse::kOnce, "transfer");
  commands->copy(dst, src);
  const TimelinePoint done{device.new_timeline(), 1};
  queue->commit(commands, {}, {&done, 1});
  ASSERT_EQ(done.wait(kLong), WaitResult::kReached);
}

uint16_t round_bf16(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
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

}  // namespace

std::vector<Content> run_calls(Device& device, const std::vector<OpCall>& calls,
                               const std::vector<Content>& contents) {
  std::vector<std::unique_ptr<Buffer>> buffers;
  std::vector<Content> out = contents;
  for (Content& content : out) {
    buffers.push_back(
        device.new_buffer(std::max<size_t>(16, content.bytes.size()), Storage::kPrivate));
    if (content.bytes.empty()) continue;
    auto host = device.new_host_view(content.bytes.data(), content.bytes.size());
    transfer(device, QueueKind::kCopyToDevice, whole(*buffers.back()), whole(*host));
  }
  auto queue = device.new_queue(QueueKind::kCompute);
  auto commands = queue->begin(CommandBufferUse::kRecorded, "ops");
  for (const OpCall& call : calls) {
    std::vector<BufferView> views;
    for (const int index : call.contents) {
      views.push_back(index < 0 ? BufferView{}
                                : whole(*buffers[static_cast<size_t>(index)])
                                      .sub(0, out[static_cast<size_t>(index)].bytes.size()));
    }
    commands->dispatch(call.op, call.args.data(), static_cast<uint32_t>(call.args.size()), views);
    if (call.barrier) commands->barrier();
  }
  const TimelinePoint done{device.new_timeline(), 1};
  queue->commit(commands, {}, {&done, 1});
  EXPECT_EQ(done.wait(kLong), WaitResult::kReached);
  for (size_t i = 0; i < out.size(); ++i) {
    if (out[i].bytes.empty()) continue;
    auto host = device.new_host_view(out[i].bytes.data(), out[i].bytes.size());
    transfer(device, QueueKind::kCopyToHost, whole(*host), whole(*buffers[i]));
  }
  return out;
}

std::vector<Content> run_reference(const std::vector<OpCall>& calls,
                                   const std::vector<Content>& contents) {
  CpuDeviceOptions options;
  options.threads = 2;
  return run_calls(*make_cpu_device(options), calls, contents);
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
  std::normal_distribution<float> normal(0.0f, scale);
  Floats out(count);
  for (float& value : out) value = normal(random);
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
  for (const float value : values) {
    out.push_back(type == ops::FloatType::kF16 ? round_f16(value) : round_bf16(value));
  }
  return Content::of(out).bytes;
}

RandomWeight random_weight(std::mt19937& random, ops::WeightArgs args) {
  RandomWeight out{args, {}, {}, {}};
  const size_t count = size_t{args.n} * args.k;
  switch (args.format) {
    case ops::WeightFormat::kF32:
      out.data.bytes = to_type(random_floats(random, count), ops::FloatType::kF32);
      return out;
    case ops::WeightFormat::kF16:
      out.data.bytes = to_type(random_floats(random, count), ops::FloatType::kF16);
      return out;
    case ops::WeightFormat::kBF16:
      out.data.bytes = to_type(random_floats(random, count), ops::FloatType::kBF16);
      return out;
    case ops::WeightFormat::kQ4:
    case ops::WeightFormat::kQ8:
      break;
  }
  const bool q4 = args.format == ops::WeightFormat::kQ4;
  out.data.bytes = random_bytes(random, q4 ? count / 2 : count);
  const float top = q4 ? 15.0f : 255.0f;
  Floats scales = random_floats(random, count / args.group_size, 0.02f);
  Floats biases = scales;
  for (size_t i = 0; i < scales.size(); ++i) {
    biases[i] = -scales[i] * top * (0.3f + 0.4f * static_cast<float>(random() % 1000) / 1000.0f);
  }
  out.scales.bytes = to_type(scales, args.scale_type);
  out.biases.bytes = to_type(biases, args.scale_type);
  return out;
}

}  // namespace krserve::parity
