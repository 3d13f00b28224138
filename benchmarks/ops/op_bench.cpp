// Time of each part of a decode or prefill step on a device, beside what its memory and its
// arithmetic allow: the roofline of a model's shapes.
//
// Every part is recorded many times over with weights of its own, so that they come from memory and
// not from a cache; a recording is replayed and the median of its device times is taken.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "base/units.h"
#include "device/device.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/paged_attention.h"
#include "kernels/ops/read_bandwidth.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/rope_kv_write.h"
#include "kernels/ops/sample.h"
#include "kernels/ops/silu_mul.h"
#include "model/synth/shapes.h"

namespace krserve {
namespace {

using Json = nlohmann::ordered_json;
using ops::Op;
using ops::RowCount;
using synth::Shape;

constexpr uint32_t kGroup = 64;
constexpr uint32_t kPageTokens = 16;
constexpr uint64_t kWeightBytes = 512 * kMiB;
constexpr uint32_t kMaxCopies = 28;

uint64_t weight_bytes(uint32_t n, uint32_t k) {
  return uint64_t{n} * k / 2;
}
uint64_t scale_bytes(uint32_t n, uint32_t k) {
  return uint64_t{n} * k / kGroup * 2;
}
// Weights, scales and biases.
uint64_t matrix_bytes(uint32_t n, uint32_t k) {
  return weight_bytes(n, k) + 2 * scale_bytes(n, k);
}

struct Result {
  std::string name;
  double us;
  double bytes;  // that must be read
  double flops;
};

class OpBench {
 public:
  OpBench(Device& device, const Shape& shape, uint32_t rows, uint32_t context, bool prefill,
          int repeats)
      : device_(device),
        s_(shape),
        rows_(rows),
        context_(context),
        prefill_(prefill),
        repeats_(repeats),
        queue_(device.new_queue(QueueKind::kCompute)),
        timeline_(device.new_timeline()) {
    make_buffers();
  }

  std::vector<Result> run();

 private:
  void layer(CommandBuffer& commands);
  void rope(CommandBuffer& commands);
  void attention(CommandBuffer& commands);
  void silu(CommandBuffer& commands);
  template <class Encode>
  Result time(const std::string& name, double bytes, double flops, uint32_t copies, Encode encode);

  BufferView buffer(uint64_t bytes) {
    buffers_.push_back(device_.new_buffer(bytes, Storage::kShared));
    return whole(*buffers_.back());
  }
  BufferView floats(uint64_t rows, uint64_t columns) {
    const BufferView view = buffer(rows * columns * sizeof(float));
    fill_floats(view);
    return view;
  }
  void upload(const BufferView& to, const void* data, uint64_t bytes);
  void fill_floats(const BufferView& view);
  void make_buffers();
  void make_params();

  // The next part of a buffer, around and around.
  struct Supply {
    BufferView all;
    uint64_t next = 0;

    BufferView take(uint64_t bytes) {
      bytes = align_up(bytes, 256);
      if (next + bytes > all.bytes) next = 0;
      next += bytes;
      return all.sub(next - bytes, bytes);
    }
  };
  void matmul(CommandBuffer& commands, const BufferView& x, uint32_t k, const BufferView& y,
              uint32_t n, uint32_t flags, RowCount count = RowCount::kRows);
  void norm(CommandBuffer& commands, const BufferView& y) {
    const std::array views{params_, hidden_, norm_, y};
    commands.dispatch(Op::kRmsNorm, ops::RmsNormArgs{s_.hidden_size, 1e-6f, RowCount::kRows},
                      views);
    commands.barrier();
  }
  ops::KvLayout kv() const {
    ops::KvLayout kv{0, kPageTokens, 20, s_.kv_heads, s_.head_dim, ops::FloatType::kF16, 0};
    kv.page_bytes = 2 * ops::kv_plane_bytes(kv);
    return kv;
  }
  double kv_bytes() const {
    const double sequences = prefill_ ? 1 : rows_;
    const double positions = prefill_ ? rows_ : context_;
    return sequences * positions * s_.kv_heads * s_.head_dim * 4;
  }

  Device& device_;
  Shape s_;
  uint32_t rows_, context_;
  bool prefill_;
  int repeats_;
  std::shared_ptr<Queue> queue_;
  std::shared_ptr<Timeline> timeline_;
  uint64_t value_ = 0;
  std::vector<std::unique_ptr<Buffer>> buffers_;
  Supply weights_, scales_;
  BufferView norm_, bias_, params_, rope_, cache_;
  BufferView hidden_, normed_, q_, k_, v_, attended_, gate_, up_, logits_, counts_, tokens_,
      sampled_;
  ops::StepLayout layout_{};
  uint32_t samples_ = 1;
};

void OpBench::upload(const BufferView& to, const void* data, uint64_t bytes) {
  auto host = device_.new_host_view(const_cast<void*>(data), bytes);
  auto queue = device_.new_queue(QueueKind::kCopyToDevice);
  auto commands = queue->begin(CommandBufferUse::kOnce, "upload");
  commands->copy(to, whole(*host));
  const TimelinePoint done{timeline_, ++value_};
  queue->commit(commands, {}, {&done, 1});
  done.wait(kNoTimeout);
}

void OpBench::fill_floats(const BufferView& view) {
  std::mt19937 random(1);
  std::vector<float> values(std::min<uint64_t>(view.bytes / 4, 1 << 20));
  for (float& value : values) value = static_cast<float>(random() % 2001) / 1000.0f - 1.0f;
  for (uint64_t at = 0; at < view.bytes; at += values.size() * 4) {
    upload(view.sub(at, std::min<uint64_t>(values.size() * 4, view.bytes - at)), values.data(),
           std::min<uint64_t>(values.size() * 4, view.bytes - at));
  }
}

void OpBench::make_buffers() {
  std::mt19937 random(2);
  weights_.all = buffer(kWeightBytes);
  std::vector<uint32_t> block(4 << 20);
  for (uint32_t& word : block) word = static_cast<uint32_t>(random());
  for (uint64_t at = 0; at < kWeightBytes; at += block.size() * 4) {
    upload(weights_.all.sub(at, block.size() * 4), block.data(), block.size() * 4);
  }
  scales_.all = buffer(kWeightBytes / 8);
  std::vector<uint16_t> halves(scales_.all.bytes / 2);
  for (uint16_t& half : halves) half = static_cast<uint16_t>(0x3b00 + random() % 128);
  upload(scales_.all, halves.data(), scales_.all.bytes);
  samples_ = prefill_ ? 1 : rows_;
  norm_ = floats(1, s_.hidden_size);
  bias_ = floats(1, s_.heads * s_.head_dim);
  hidden_ = floats(rows_, s_.hidden_size);
  normed_ = floats(rows_, s_.hidden_size);
  q_ = floats(rows_, s_.heads * s_.head_dim);
  k_ = floats(rows_, s_.kv_heads * s_.head_dim);
  v_ = floats(rows_, s_.kv_heads * s_.head_dim);
  attended_ = floats(rows_, s_.heads * s_.head_dim);
  gate_ = floats(rows_, s_.intermediate_size);
  up_ = floats(rows_, s_.intermediate_size);
  logits_ = floats(samples_, s_.vocab_size);
  rope_ = floats(8192, s_.head_dim);
  tokens_ = buffer(samples_ * 4);
  sampled_ = buffer(samples_ * 4);
  counts_ = buffer(uint64_t{samples_} * s_.vocab_size * 2);
  make_params();
}

void OpBench::make_params() {
  layout_ = ops::step_layout(rows_, samples_);
  const uint32_t sequences = prefill_ ? 1 : rows_;
  const uint32_t positions = prefill_ ? rows_ : context_;
  const uint32_t pages = (positions + kPageTokens - 1) / kPageTokens;
  std::vector<std::byte> bytes(layout_.pages_offset + uint64_t{sequences} * pages * 4);
  const ops::StepHeader header{rows_, samples_, sequences * pages, 0};
  std::memcpy(bytes.data(), &header, sizeof(header));
  for (uint32_t r = 0; r < rows_; ++r) {
    const ops::StepRow row{0, prefill_ ? r : positions - 1, prefill_ ? 0 : r,
                           prefill_ ? 0 : r * pages, 0};
    std::memcpy(bytes.data() + layout_.rows_offset + r * sizeof(row), &row, sizeof(row));
  }
  for (uint32_t i = 0; i < samples_; ++i) {
    ops::SampleRow sample{};
    sample.row = prefill_ ? rows_ - 1 : i;
    sample.slot = i;
    sample.flags = ops::kSampleGreedy;
    std::memcpy(bytes.data() + layout_.samples_offset + i * sizeof(sample), &sample,
                sizeof(sample));
  }
  for (uint32_t i = 0; i < sequences * pages; ++i) {
    std::memcpy(bytes.data() + layout_.pages_offset + i * 4, &i, 4);
  }
  params_ = buffer(bytes.size());
  upload(params_, bytes.data(), bytes.size());
  cache_ = buffer(uint64_t{sequences} * pages * kv().page_bytes);
  std::vector<uint16_t> halves(1 << 20);
  std::mt19937 random(3);
  for (uint16_t& half : halves) half = static_cast<uint16_t>(0x3000 + random() % 2048);
  for (uint64_t at = 0; at < cache_.bytes; at += halves.size() * 2) {
    const uint64_t size = std::min<uint64_t>(halves.size() * 2, cache_.bytes - at);
    upload(cache_.sub(at, size), halves.data(), size);
  }
}

void OpBench::matmul(CommandBuffer& commands, const BufferView& x, uint32_t k, const BufferView& y,
                     uint32_t n, uint32_t flags, RowCount count) {
  const ops::WeightArgs weight{n, k, ops::WeightFormat::kQ4, ops::FloatType::kBF16, kGroup};
  const std::array views{params_,
                         x,
                         weights_.take(weight_bytes(n, k)),
                         scales_.take(scale_bytes(n, k)),
                         scales_.take(scale_bytes(n, k)),
                         bias_,
                         y};
  commands.dispatch(Op::kMatmul, ops::MatmulArgs{weight, count, flags}, views);
}

template <class Encode>
Result OpBench::time(const std::string& name, double bytes, double flops, uint32_t copies,
                     Encode encode) {
  auto commands = queue_->begin(CommandBufferUse::kRecorded, name);
  for (uint32_t i = 0; i < copies; ++i) {
    encode(*commands);
    commands->barrier();
  }
  std::vector<double> times;
  for (int i = 0; i < repeats_ + 2; ++i) {
    const TimelinePoint done{timeline_, ++value_};
    queue_->commit(commands, {}, {&done, 1});
    done.wait(kNoTimeout);
    const Timestamps t = commands->timestamps();
    if (i >= 2) times.push_back(static_cast<double>(t.end_ns - t.start_ns) / 1e3 / copies);
  }
  std::sort(times.begin(), times.end());
  return {name, times[times.size() / 2], bytes, flops};
}

void OpBench::rope(CommandBuffer& commands) {
  const std::array views{params_, q_, k_, v_, rope_, BufferView{}, BufferView{}, cache_};
  commands.dispatch(Op::kRopeKvWrite, ops::RopeKvWriteArgs{kv(), layout_, s_.heads, 0, 1e-6f},
                    views);
}

void OpBench::attention(CommandBuffer& commands) {
  const std::array views{params_, q_, attended_, cache_};
  commands.dispatch(Op::kPagedAttention, ops::PagedAttentionArgs{kv(), layout_, s_.heads, 0.08f},
                    views);
}

void OpBench::silu(CommandBuffer& commands) {
  const std::array views{params_, gate_, up_};
  commands.dispatch(Op::kSiluMul, ops::SiluMulArgs{s_.intermediate_size, RowCount::kRows}, views);
}

// All of a layer, as the model has it.
void OpBench::layer(CommandBuffer& c) {
  const uint32_t q_size = s_.heads * s_.head_dim, kv_size = s_.kv_heads * s_.head_dim;
  norm(c, normed_);
  matmul(c, normed_, s_.hidden_size, q_, q_size, ops::kMatmulBias);
  matmul(c, normed_, s_.hidden_size, k_, kv_size, ops::kMatmulBias);
  matmul(c, normed_, s_.hidden_size, v_, kv_size, ops::kMatmulBias);
  c.barrier();
  rope(c);
  c.barrier();
  attention(c);
  c.barrier();
  matmul(c, attended_, q_size, hidden_, s_.hidden_size, ops::kMatmulAccumulate);
  c.barrier();
  norm(c, normed_);
  matmul(c, normed_, s_.hidden_size, gate_, s_.intermediate_size, 0);
  matmul(c, normed_, s_.hidden_size, up_, s_.intermediate_size, 0);
  c.barrier();
  silu(c);
  c.barrier();
  matmul(c, gate_, s_.intermediate_size, hidden_, s_.hidden_size, ops::kMatmulAccumulate);
}

std::vector<Result> OpBench::run() {
  std::vector<Result> out;
  const double rows = rows_;
  const uint32_t q_size = s_.heads * s_.head_dim, kv_size = s_.kv_heads * s_.head_dim;
  const auto flops = [&](double n, double k) { return 2 * rows * n * k; };
  const auto copies_of = [](uint64_t bytes) {
    return static_cast<uint32_t>(std::clamp<uint64_t>(kWeightBytes / bytes, 1, kMaxCopies));
  };
  const auto bytes_of = [](uint32_t n, uint32_t k) {
    return static_cast<double>(matrix_bytes(n, k));
  };
  const uint32_t qkv = q_size + 2 * kv_size;
  out.push_back(time("norm_qkv", bytes_of(qkv, s_.hidden_size), flops(qkv, s_.hidden_size),
                     copies_of(matrix_bytes(qkv, s_.hidden_size)), [&](CommandBuffer& c) {
                       norm(c, normed_);
                       matmul(c, normed_, s_.hidden_size, q_, q_size, ops::kMatmulBias);
                       matmul(c, normed_, s_.hidden_size, k_, kv_size, ops::kMatmulBias);
                       matmul(c, normed_, s_.hidden_size, v_, kv_size, ops::kMatmulBias);
                     }));
  out.push_back(time("rope_kv_write", 0, 0, kMaxCopies, [&](CommandBuffer& c) { rope(c); }));
  const double pairs = prefill_ ? rows * (rows + 1) / 2 : rows * context_;
  out.push_back(time("attention", kv_bytes(), 4 * pairs * q_size, kMaxCopies,
                     [&](CommandBuffer& c) { attention(c); }));
  out.push_back(
      time("attention_out", bytes_of(s_.hidden_size, q_size), flops(s_.hidden_size, q_size),
           copies_of(matrix_bytes(s_.hidden_size, q_size)), [&](CommandBuffer& c) {
             matmul(c, attended_, q_size, hidden_, s_.hidden_size, ops::kMatmulAccumulate);
           }));
  out.push_back(time(
      "norm_gate_up_silu", 2 * bytes_of(s_.intermediate_size, s_.hidden_size),
      2 * flops(s_.intermediate_size, s_.hidden_size),
      copies_of(2 * matrix_bytes(s_.intermediate_size, s_.hidden_size)), [&](CommandBuffer& c) {
        norm(c, normed_);
        matmul(c, normed_, s_.hidden_size, gate_, s_.intermediate_size, 0);
        matmul(c, normed_, s_.hidden_size, up_, s_.intermediate_size, 0);
        c.barrier();
        const std::array views{params_, gate_, up_};
        c.dispatch(Op::kSiluMul, ops::SiluMulArgs{s_.intermediate_size, RowCount::kRows}, views);
      }));
  out.push_back(time("down", bytes_of(s_.hidden_size, s_.intermediate_size),
                     flops(s_.hidden_size, s_.intermediate_size),
                     copies_of(matrix_bytes(s_.hidden_size, s_.intermediate_size)),
                     [&](CommandBuffer& c) {
                       matmul(c, gate_, s_.intermediate_size, hidden_, s_.hidden_size, 0);
                     }));
  const double all_bytes = bytes_of(qkv, s_.hidden_size) + bytes_of(s_.hidden_size, q_size) +
                           3 * bytes_of(s_.intermediate_size, s_.hidden_size) + kv_bytes();
  const double all_flops = flops(qkv, s_.hidden_size) + flops(s_.hidden_size, q_size) +
                           3 * flops(s_.intermediate_size, s_.hidden_size) + 4 * pairs * q_size;
  out.push_back(
      time("layer", all_bytes, all_flops, kMaxCopies, [&](CommandBuffer& c) { layer(c); }));
  out.push_back(time("head", bytes_of(s_.vocab_size, s_.hidden_size),
                     2.0 * samples_ * s_.vocab_size * s_.hidden_size, 1, [&](CommandBuffer& c) {
                       matmul(c, hidden_.sub(0, uint64_t{samples_} * s_.hidden_size * 4),
                              s_.hidden_size, logits_, s_.vocab_size, 0, RowCount::kSamples);
                     }));
  out.push_back(time("sample", 4.0 * samples_ * s_.vocab_size, 0, 8, [&](CommandBuffer& c) {
    const std::array views{params_, logits_, counts_, tokens_, sampled_};
    c.dispatch(Op::kSample, ops::SampleArgs{layout_, s_.vocab_size}, views);
  }));
  return out;
}

// GB/s of a large read, the best of a few.
double read_bandwidth(Device& device) {
  constexpr uint64_t kBytes = 2 * kGiB, kChunk = kMiB / 4;
  auto data = device.new_buffer(kBytes, Storage::kShared);
  auto sums = device.new_buffer(kBytes / kChunk * 4, Storage::kShared);
  auto queue = device.new_queue(QueueKind::kCompute);
  auto timeline = device.new_timeline();
  const std::array views{whole(*data), whole(*sums)};
  double best = 0;
  for (uint64_t i = 1; i <= 6; ++i) {
    auto commands = queue->begin(CommandBufferUse::kOnce, "read");
    if (i == 1) {
      commands->fill(whole(*data), 1);
    } else {
      commands->dispatch(Op::kReadBandwidth, ops::ReadBandwidthArgs{kBytes, kChunk}, views);
    }
    const TimelinePoint done{timeline, i};
    queue->commit(commands, {}, {&done, 1});
    done.wait(kNoTimeout);
    const Timestamps t = commands->timestamps();
    if (i > 1)
      best =
          std::max(best, static_cast<double>(kBytes) / static_cast<double>(t.end_ns - t.start_ns));
  }
  return best;
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%SZ", &utc);
  return text.data();
}

int run(int argc, char** argv) {
  CLI::App app{"Time of each part of a step on a device, beside its memory's read rate"};
  std::string backend = "auto", shape = "qwen2.5-7b", out;
  std::vector<uint32_t> rows = {1, 8, 64}, prefill = {2048};
  uint32_t context = 576;
  int repeats = 11;
  app.add_option("--device", backend, "cpu, cuda or auto");
  app.add_option("--shape", shape, "A shape of krserve synth");
  app.add_option("--rows", rows, "Rows of decode steps")->delimiter(',');
  app.add_option("--prefill", prefill, "Rows of prefill steps; 0: none")->delimiter(',');
  app.add_option("--context", context, "Positions of each sequence in decode");
  app.add_option("--repeats", repeats, "Replays of which the median is taken");
  app.add_option("--json", out, "Write the figures to this file");
  CLI11_PARSE(app, argc, argv);
  auto device = make_device({.backend = backend});
  const double limit = read_bandwidth(*device);
  std::printf("%s, read bandwidth %.0f GB/s, %s, 4 bit\n", device->info().name.c_str(), limit,
              shape.c_str());
  Json json{{"machine", device->info().name},
            {"date", utc_now()},
            {"command",
             fmt::format("op_bench --device {} --shape {} --rows {} --prefill {} --context {}",
                         backend, shape, fmt::join(rows, ","), fmt::join(prefill, ","), context)},
            {"shape", shape},
            {"read_gb_per_s", limit}};
  const auto table = [&](uint32_t count, bool is_prefill) {
    OpBench bench(*device, synth::find_shape(shape), count, context, is_prefill, repeats);
    std::printf("\n%s of %u rows\n%-18s %10s %10s %8s %10s\n", is_prefill ? "prefill" : "decode",
                count, "part", "us", "GB/s", "of read", "TFLOP/s");
    Json parts = Json::array();
    for (const Result& r : bench.run()) {
      const double rate = r.bytes / r.us / 1e3, tflops = r.flops / r.us / 1e6;
      std::printf("%-18s %10.2f %10.0f %7.0f%% %10.1f\n", r.name.c_str(), r.us, rate,
                  100 * rate / limit, tflops);
      parts.push_back(
          {{"part", r.name}, {"us", r.us}, {"gb_per_s", rate}, {"tflop_per_s", tflops}});
    }
    json["steps"].push_back({{"prefill", is_prefill}, {"rows", count}, {"parts", parts}});
    std::fflush(stdout);
  };
  for (const uint32_t count : rows) {
    if (count > 0) table(count, false);
  }
  for (const uint32_t count : prefill) {
    if (count > 0) table(count, true);
  }
  if (!out.empty()) std::ofstream(out) << json.dump(2) << '\n';
  return 0;
}

}  // namespace
}  // namespace krserve

int main(int argc, char** argv) {
  try {
    return krserve::run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
