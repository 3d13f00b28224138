#include <cmath>

#include "kernels/ops/matmul.h"
#include "kernels/ops/read_bandwidth.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/silu_mul.h"
#include "parity/parity.h"

namespace krserve::parity {
namespace {

using Floats = std::vector<float>;

Floats values(size_t count, uint32_t seed) {
  Floats out(count);
  for (float& value : out) {
    seed = seed * 1664525U + 1013904223U;
    value = static_cast<float>(seed >> 8) / 8388608.0f - 1.0f;
  }
  return out;
}

void silu_mul(CommandBuffer& commands, uint32_t dim, Buffer& params, Buffer& gate, Buffer& up) {
  const BufferView buffers[] = {whole(params), whole(gate), whole(up)};
  commands.dispatch(ops::Op::kSiluMul, ops::SiluMulArgs{dim, ops::RowCount::kRows}, buffers);
}

void rms_norm(CommandBuffer& commands, uint32_t dim, Buffer& params, Buffer& x, Buffer& weight,
              Buffer& y) {
  const BufferView buffers[] = {whole(params), whole(x), whole(weight), whole(y)};
  commands.dispatch(ops::Op::kRmsNorm, ops::RmsNormArgs{dim, 1e-6f, ops::RowCount::kRows}, buffers);
}

void add_product(CommandBuffer& commands, uint32_t dim, Buffer& params, Buffer& x, Buffer& weight,
                 Buffer& y) {
  ops::MatmulArgs args{};
  args.weight = {dim, dim, ops::WeightFormat::kF32, ops::FloatType::kF32, 0};
  args.rows = ops::RowCount::kRows;
  args.flags = ops::kMatmulAccumulate;
  const BufferView buffers[] = {whole(params), whole(x), whole(weight), {}, {}, {}, whole(y)};
  commands.dispatch(ops::Op::kMatmul, args, buffers);
}

TEST_P(Parity, ADispatchWorksOnTheRowsOfTheStepOnly) {
  constexpr uint32_t kDim = 2999;
  const Floats gate = values(5 * kDim, 1);
  const Floats up = values(5 * kDim, 2);
  auto gates = buffer_of(gate);
  auto ups = buffer_of(up);
  auto params = step_params(3);
  auto commands = begin(*compute_);
  silu_mul(*commands, kDim, *params, *gates, *ups);
  run(*compute_, commands);
  const Floats result = read_all<float>(whole(*gates));
  for (size_t i = 0; i < result.size(); ++i) {
    const float expected = i < 3 * kDim ? gate[i] / (1.0f + std::exp(-gate[i])) * up[i] : gate[i];
    ASSERT_NEAR(result[i], expected, 1e-5f * std::fabs(expected) + 1e-7f) << "element " << i;
  }
}

TEST_P(Parity, ManyTasksOfOneDispatchAreEachRunOnce) {
  constexpr uint64_t kChunk = 64;
  constexpr uint64_t kChunks = 5001;
  std::vector<uint32_t> data(kChunks * kChunk / sizeof(uint32_t));
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<uint32_t>(i % 251);
  auto source = buffer_of(data);
  auto sums = buffer_of(Floats(kChunks + 1, -1.0f));
  auto commands = begin(*compute_);
  const BufferView buffers[] = {whole(*source), whole(*sums)};
  commands->dispatch(ops::Op::kReadBandwidth, ops::ReadBandwidthArgs{kChunks * kChunk, kChunk},
                     buffers);
  run(*compute_, commands);
  const Floats result = read_all<float>(whole(*sums));
  for (uint64_t chunk = 0; chunk < kChunks; ++chunk) {
    uint32_t expected = 0;
    for (size_t i = 0; i < 16; ++i) expected += data[chunk * 16 + i];
    ASSERT_EQ(result[chunk], static_cast<float>(expected)) << "chunk " << chunk;
  }
  EXPECT_EQ(result[kChunks], -1.0f);
}

// 200 dependent dispatches: a += W b and b += W a, and norms in between.
class Chain {
 public:
  static constexpr uint32_t kDim = 96;
  static constexpr uint32_t kCommands = 200;

  Chain(Buffer& params, Buffer& a, Buffer& b, Buffer& product, Buffer& norm)
      : params_(params), a_(a), b_(b), product_(product), norm_(norm) {}

  void encode(CommandBuffer& commands, uint32_t index) const {
    Buffer& from = index % 2 ? a_ : b_;
    Buffer& to = index % 2 ? b_ : a_;
    if (index % 5 == 4) {
      rms_norm(commands, kDim, params_, from, norm_, from);
    } else {
      add_product(commands, kDim, params_, from, product_, to);
    }
  }

 private:
  Buffer& params_;
  Buffer& a_;
  Buffer& b_;
  Buffer& product_;
  Buffer& norm_;
};

TEST_P(Parity, BarriersOrderDependentDispatches) {
  constexpr uint32_t kRows = 3;
  auto params = step_params(kRows);
  Floats weights = values(Chain::kDim * Chain::kDim, 5);
  for (float& weight : weights) weight *= 0.05f;
  auto product = buffer_of(weights);
  auto norm = buffer_of(Floats(Chain::kDim, 1.0f));
  Floats results[2];
  for (const bool one_by_one : {false, true}) {
    auto a = buffer_of(values(kRows * Chain::kDim, 6));
    auto b = buffer_of(values(kRows * Chain::kDim, 7));
    const Chain chain(*params, *a, *b, *product, *norm);
    auto commands = begin(*compute_);
    for (uint32_t i = 0; i < Chain::kCommands; ++i) {
      chain.encode(*commands, i);
      commands->barrier();
      if (!one_by_one) continue;
      run(*compute_, commands);
      commands = begin(*compute_);
    }
    run(*compute_, commands);
    results[one_by_one] = read_all<float>(whole(*a));
  }
  EXPECT_EQ(results[0], results[1]) << "bit for bit";
  EXPECT_NE(results[0], values(kRows * Chain::kDim, 6));
  for (const float value : results[0]) ASSERT_TRUE(std::isfinite(value));
}

TEST_P(Parity, ARecordingReplaysAndSeesNewStepParams) {
  constexpr uint32_t kDim = 33;
  constexpr uint32_t kMaxRows = 6;
  const Floats input = values(kMaxRows * kDim, 8);
  auto params = step_params(1);
  auto x = buffer(input.size() * sizeof(float));
  auto weight = buffer_of(Floats(kDim, 2.0f));
  auto y = buffer(input.size() * sizeof(float));
  auto recording = compute_->begin(CommandBufferUse::kRecorded, "norm");
  recording->fill(whole(*y), 0);
  recording->barrier();
  rms_norm(*recording, kDim, *params, *x, *weight, *y);
  for (const uint32_t rows : {1U, 6U, 0U, 3U}) {
    write(whole(*params), std::vector<ops::StepHeader>{{rows, rows, 0, 0}});
    Floats scaled = input;
    for (float& value : scaled) value *= static_cast<float>(rows + 1);
    write(whole(*x), scaled);
    run(*compute_, recording);
    const Floats result = read_all<float>(whole(*y));
    for (uint32_t row = 0; row < kMaxRows; ++row) {
      double squares = 0;
      for (uint32_t i = 0; i < kDim; ++i)
        squares += double{scaled[row * kDim + i]} * scaled[row * kDim + i];
      const auto factor =
          row < rows ? static_cast<float>(2.0 / std::sqrt(squares / kDim + 1e-6)) : 0;
      for (uint32_t i = 0; i < kDim; ++i) {
        ASSERT_NEAR(result[row * kDim + i], scaled[row * kDim + i] * factor, 1e-4f)
            << rows << " rows, row " << row;
      }
    }
  }
}

TEST_P(Parity, ARecordingReplaysManyTimesWithoutTheHostInBetween) {
  auto one = buffer_of(Floats(64, 0.5f));
  auto two = buffer_of(Floats(64, 1.0f));
  auto params = step_params(1);
  auto recording = compute_->begin(CommandBufferUse::kRecorded, "silu");
  silu_mul(*recording, 64, *params, *one, *two);
  float expected = 0.5f;
  auto done = device_->new_timeline();
  for (uint64_t i = 1; i <= 50; ++i) {
    const TimelinePoint end{done, i};
    compute_->commit(recording, {}, {&end, 1});
    ASSERT_EQ(end.wait(kLong), WaitResult::kReached);
    EXPECT_EQ(recording->state(), CommandBufferState::kCompleted);
    expected = expected / (1.0f + std::exp(-expected));
  }
  EXPECT_NEAR(read_all<float>(whole(*one))[63], expected, 1e-6f);
}

TEST_P(Parity, DispatchesThatCannotBeAreRefused) {
  auto commands = begin(*compute_);
  std::byte args[ops::kMaxArgsBytes + 1] = {};
  const std::vector<BufferView> many(ops::kMaxBuffers + 1);
  EXPECT_THROW(commands->dispatch(ops::Op::kOpCount, args, 8, {}), DeviceError);
  EXPECT_THROW(commands->dispatch(ops::Op::kSiluMul, args, sizeof(args), {}), DeviceError);
  EXPECT_THROW(commands->dispatch(ops::Op::kSiluMul, args, 8, many), DeviceError);
  run(*compute_, commands);
}

}  // namespace
}  // namespace krserve::parity
