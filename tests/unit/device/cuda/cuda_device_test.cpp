#include "device/cuda/cuda_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <thread>

#include "base/error.h"
#include "fake_runtime.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/silu_mul.h"
#include "kernels/ops/step_params.h"

namespace krserve {
namespace {

using fake_cuda::Runtime;
using ::testing::HasSubstr;

constexpr std::chrono::seconds kLong{60};
constexpr std::chrono::milliseconds kShort{5};
constexpr uint32_t kDim = 64;

// What CUDA would not have reported is a failure of the test under way.
class Violations final : public ::testing::EmptyTestEventListener {
  void OnTestEnd(const ::testing::TestInfo&) override {
    EXPECT_THAT(Runtime::get().violations(), ::testing::IsEmpty());
  }
};

const bool kListening = [] {
  ::testing::UnitTest::GetInstance()->listeners().Append(new Violations);
  return true;
}();

template <class F>
std::string device_error(F call) {
  try {
    call();
  } catch (const DeviceError& error) {
    return error.what();
  }
  return "no error";
}

class CudaDeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(kListening);
    Runtime::get().reset();
    open();
  }

  void open() {
    CudaDeviceOptions options;
    options.close_patience = std::chrono::milliseconds(20);
    device_ = make_cuda_device(options);
    compute_ = device_->new_queue(QueueKind::kCompute);
    up_ = device_->new_queue(QueueKind::kCopyToDevice);
    down_ = device_->new_queue(QueueKind::kCopyToHost);
  }

  void reopen(const fake_cuda::Options& options) {
    compute_.reset();
    up_.reset();
    down_.reset();
    device_.reset();
    Runtime::get().reset(options);
    open();
  }

  // Three launches of x = silu(x) * y on one row, and the copy of the header that they read.
  struct Step {
    std::unique_ptr<Buffer> header;
    std::unique_ptr<Buffer> params;
    std::unique_ptr<Buffer> x;
    std::unique_ptr<Buffer> y;
    std::unique_ptr<Buffer> result;
  };

  Step make_step() {
    Step step;
    step.header = device_->new_buffer(sizeof(ops::StepHeader), Storage::kStaging);
    step.params = device_->new_buffer(sizeof(ops::StepHeader), Storage::kPrivate);
    step.x = device_->new_buffer(kDim * sizeof(float), Storage::kPrivate);
    step.y = device_->new_buffer(kDim * sizeof(float), Storage::kPrivate);
    step.result = device_->new_buffer(kDim * sizeof(float), Storage::kStaging);
    const ops::StepHeader header{1, 1, 0, 0};
    std::memcpy(step.header->contents(), &header, sizeof(header));
    return step;
  }

  std::shared_ptr<CommandBuffer> encode(const Step& step, CommandBufferUse use, int launches = 3) {
    auto commands = compute_->begin(use, "step");
    commands->fill(whole(*step.x), 0x3f);
    commands->fill(whole(*step.y), 0x3f);
    for (int i = 0; i < launches; ++i) {
      commands->barrier();
      const BufferView buffers[] = {whole(*step.params), whole(*step.x), whole(*step.y)};
      commands->dispatch(ops::Op::kSiluMul, ops::SiluMulArgs{kDim, ops::RowCount::kRows}, buffers);
    }
    return commands;
  }

  // Upload, step, download, each waiting for the one before on the device.
  float run_step(const Step& step, const std::shared_ptr<CommandBuffer>& commands) {
    const TimelinePoint uploaded{device_->new_timeline(), 1};
    const TimelinePoint ended{device_->new_timeline(), 1};
    const TimelinePoint landed{device_->new_timeline(), 1};
    auto upload = up_->begin(CommandBufferUse::kOnce, "upload");
    upload->copy(whole(*step.params), whole(*step.header));
    auto download = down_->begin(CommandBufferUse::kOnce, "download");
    download->copy(whole(*step.result), whole(*step.x));
    up_->commit(upload, {}, {&uploaded, 1});
    compute_->commit(commands, {&uploaded, 1}, {&ended, 1});
    down_->commit(download, {&ended, 1}, {&landed, 1});
    EXPECT_EQ(landed.wait(kLong), WaitResult::kReached);
    float out = 0;
    std::memcpy(&out, step.result->contents(), sizeof(out));
    return out;
  }

  std::shared_ptr<CommandBuffer> fill(Buffer& buffer, const char* label = "fill") {
    auto commands = compute_->begin(CommandBufferUse::kOnce, label);
    commands->fill(whole(buffer), 1);
    return commands;
  }

  uint64_t objects_created() {
    uint64_t count = 0;
    for (const char* name : {"cudaMalloc", "cudaHostAlloc", "cudaEventCreate", "cudaStreamCreate",
                             "cudaGraphInstantiate", "cudaFree", "cudaFreeHost"}) {
      count += Runtime::get().calls(name);
    }
    return count;
  }

  std::shared_ptr<Device> device_;
  std::shared_ptr<Queue> compute_;
  std::shared_ptr<Queue> up_;
  std::shared_ptr<Queue> down_;
};

TEST_F(CudaDeviceTest, SaysWhatItIs) {
  const DeviceInfo& info = device_->info();
  EXPECT_EQ(info.backend, "cuda");
  EXPECT_EQ(info.name, "Fake GPU (sm_90)");
  EXPECT_EQ(info.memory_bytes, fake_cuda::kMemoryBytes);
  EXPECT_FALSE(info.unified_memory);
  EXPECT_FALSE(info.dynamic_rows);
}

TEST(CudaDevice, WithoutOneTheErrorHasCudasReasonAndTheRemedy) {
  fake_cuda::Options options;
  options.devices = 0;
  Runtime::get().reset(options);
  EXPECT_FALSE(has_cuda_device());
  EXPECT_THAT(device_error([] { make_cuda_device(); }),
              ::testing::AllOf(HasSubstr("cudaErrorNoDevice (100"), HasSubstr("driver")));
}

TEST_F(CudaDeviceTest, ARecordingIsReplayedAsOneGraphWithoutMakingAnything) {
  const Step step = make_step();
  auto recording = encode(step, CommandBufferUse::kRecorded);
  const float first = run_step(step, recording);
  Runtime& runtime = Runtime::get();
  const uint64_t launches = runtime.calls("cudaLaunchKernelExC");
  const uint64_t created = objects_created();
  EXPECT_EQ(launches, 3U);
  EXPECT_EQ(runtime.calls("cudaGraphInstantiate"), 1U);
  for (int i = 0; i < 100; ++i) ASSERT_EQ(run_step(step, recording), first);
  EXPECT_EQ(runtime.calls("cudaGraphLaunch"), 101U);
  EXPECT_EQ(runtime.calls("cudaLaunchKernelExC"), launches);
  EXPECT_EQ(objects_created(), created);
}

TEST_F(CudaDeviceTest, CommandsForOneUseGiveTheSameAsARecording) {
  const Step step = make_step();
  const float recorded = run_step(step, encode(step, CommandBufferUse::kRecorded));
  EXPECT_EQ(run_step(step, encode(step, CommandBufferUse::kOnce)), recorded);
  EXPECT_EQ(Runtime::get().calls("cudaLaunchKernelExC"), 6U);
  EXPECT_EQ(Runtime::get().calls("cudaGraphLaunch"), 1U);
}

TEST_F(CudaDeviceTest, CopiesThatNoBarrierPartsAreOneBatch) {
  const auto copies = [&](CommandBufferUse use) {
    std::vector<uint32_t> pageable{5};
    auto from = device_->new_buffer(6 * sizeof(uint32_t), Storage::kStaging);
    auto to = device_->new_buffer(6 * sizeof(uint32_t), Storage::kPrivate);
    auto back = device_->new_buffer(6 * sizeof(uint32_t), Storage::kStaging);
    auto source = device_->new_host_view(pageable.data(), sizeof(uint32_t));
    auto* const values = reinterpret_cast<uint32_t*>(from->contents());
    std::iota(values, values + 6, 0U);
    const auto word = [](Buffer& buffer, uint64_t i) { return whole(buffer).sub(i * 4, 4); };
    auto commands = up_->begin(use, "words");
    for (const uint64_t i : {0, 1, 2}) commands->copy(word(*to, i), word(*from, i));
    commands->barrier();
    for (const uint64_t i : {3, 4}) commands->copy(word(*to, i), word(*from, i));
    commands->copy(word(*to, 5), whole(*source));
    commands->barrier();
    commands->copy(whole(*back), whole(*to));
    const TimelinePoint done{device_->new_timeline(), 1};
    up_->commit(commands, {}, {&done, 1});
    EXPECT_EQ(done.wait(kLong), WaitResult::kReached);
    EXPECT_EQ(std::memcmp(back->contents(), from->contents(), 6 * sizeof(uint32_t)), 0);
  };
  Runtime& runtime = Runtime::get();
  copies(CommandBufferUse::kOnce);
  EXPECT_EQ(runtime.calls("cuMemcpyBatchAsync"), 2U);
  EXPECT_EQ(runtime.calls("cudaMemcpyAsync"), 2U);
  copies(CommandBufferUse::kRecorded);
  EXPECT_EQ(runtime.calls("cuMemcpyBatchAsync"), 2U);
  fake_cuda::Options old_driver;
  old_driver.copy_batches = false;
  reopen(old_driver);
  copies(CommandBufferUse::kOnce);
  EXPECT_EQ(runtime.calls("cuMemcpyBatchAsync"), 0U);
  EXPECT_EQ(runtime.calls("cudaMemcpyAsync"), 7U);
}

TEST_F(CudaDeviceTest, AGraphIsMadeWithoutOverlapWhereItCannotHaveIt) {
  fake_cuda::Options options;
  options.overlap_in_capture = false;
  reopen(options);
  const Step step = make_step();
  auto recording = encode(step, CommandBufferUse::kRecorded);
  const float first = run_step(step, recording);
  EXPECT_EQ(run_step(step, recording), first);
  EXPECT_EQ(Runtime::get().calls("cudaGraphLaunch"), 2U);
}

TEST_F(CudaDeviceTest, ARecordingWithPageableMemoryRunsWithoutAGraph) {
  std::vector<std::byte> host(1000, std::byte{7});
  std::vector<std::byte> back(host.size());
  auto buffer = device_->new_buffer(host.size(), Storage::kPrivate);
  auto source = device_->new_host_view(host.data(), host.size());
  auto target = device_->new_host_view(back.data(), back.size());
  auto commands = up_->begin(CommandBufferUse::kRecorded, "there and back");
  commands->fill(whole(*buffer), 0);
  commands->barrier();
  commands->copy(whole(*buffer), whole(*source));
  commands->barrier();
  commands->copy(whole(*target), whole(*buffer));
  for (const std::byte value : {std::byte{7}, std::byte{8}}) {
    std::fill(host.begin(), host.end(), value);
    const TimelinePoint done{device_->new_timeline(), 1};
    up_->commit(commands, {}, {&done, 1});
    ASSERT_EQ(done.wait(kLong), WaitResult::kReached);
    EXPECT_EQ(back, host);
  }
  EXPECT_EQ(Runtime::get().calls("cudaGraphInstantiate"), 0U);
}

TEST_F(CudaDeviceTest, TheWorkspaceGrowsAndOlderRecordingsKeepTheirs) {
  const Step step = make_step();
  auto small = encode(step, CommandBufferUse::kRecorded, 3);
  const float expected = run_step(step, small);
  const uint64_t before = device_->memory().live_bytes;
  auto large = encode(step, CommandBufferUse::kRecorded, 40);
  run_step(step, large);
  EXPECT_GT(device_->memory().live_bytes, before);
  EXPECT_EQ(run_step(step, small), expected);
  const uint64_t both = device_->memory().live_bytes;
  small.reset();
  EXPECT_LT(device_->memory().live_bytes, both);
}

TEST_F(CudaDeviceTest, KernelsBindNoPageableMemoryAndFillsNeither) {
  float data[4] = {};
  auto view = device_->new_host_view(data, sizeof(data));
  auto commands = compute_->begin(CommandBufferUse::kOnce, "bad");
  const BufferView buffers[] = {whole(*view)};
  EXPECT_THAT(
      device_error([&] { commands->dispatch(ops::Op::kSiluMul, ops::SiluMulArgs{}, buffers); }),
      HasSubstr("pageable"));
  EXPECT_THAT(device_error([&] { commands->fill(whole(*view), 1); }), HasSubstr("pageable"));
}

TEST_F(CudaDeviceTest, ABindingPastTheEndOfItsBufferIsRefused) {
  auto one = device_->new_buffer(100, Storage::kPrivate);
  auto commands = compute_->begin(CommandBufferUse::kOnce, "bad");
  const BufferView buffers[] = {{one.get(), 60, 41}};
  EXPECT_THROW(commands->dispatch(ops::Op::kSiluMul, ops::SiluMulArgs{}, buffers), DeviceError);
}

TEST_F(CudaDeviceTest, ADispatchThatNoKernelCanDoRefusesItsCommitOnly) {
  const Step step = make_step();
  const float expected = run_step(step, encode(step, CommandBufferUse::kOnce));
  auto commands = compute_->begin(CommandBufferUse::kOnce, "bad groups");
  ops::MatmulArgs args{};
  args.weight = {kDim, kDim, ops::WeightFormat::kQ4, ops::FloatType::kF32, 16};
  const BufferView x = whole(*step.x);
  const BufferView buffers[] = {whole(*step.params), x, x, x, x, {}, x};
  commands->dispatch(ops::Op::kMatmul, args, buffers);
  EXPECT_THAT(device_error([&] { compute_->commit(commands, {}, {}); }),
              ::testing::AllOf(HasSubstr("'bad groups'"), HasSubstr("groups of 16")));
  EXPECT_EQ(run_step(step, encode(step, CommandBufferUse::kOnce)), expected);
}

TEST_F(CudaDeviceTest, WhatIsOfAnotherDeviceIsRefused) {
  auto other = make_cuda_device();
  auto one = device_->new_buffer(64, Storage::kPrivate);
  auto commands = fill(*one);
  const TimelinePoint theirs{other->new_timeline(), 1};
  EXPECT_THROW(compute_->commit(commands, {&theirs, 1}, {}), DeviceError);
  EXPECT_THROW(compute_->commit(commands, {}, {&theirs, 1}), DeviceError);
  EXPECT_THROW(other->new_queue(QueueKind::kCompute)->commit(commands, {}, {}), DeviceError);
  EXPECT_EQ(commands->state(), CommandBufferState::kEncoding);
  compute_->commit(commands, {}, {});
  EXPECT_TRUE(compute_->wait_idle(kLong));
}

TEST_F(CudaDeviceTest, ARefusalOfMemoryHasTheNumbers) {
  auto held = device_->new_buffer(256 << 20, Storage::kPrivate);
  try {
    auto more = device_->new_buffer(uint64_t{900} << 20, Storage::kPrivate);
    FAIL() << "allocated";
  } catch (const OutOfMemoryError& error) {
    EXPECT_THAT(error.what(), ::testing::AllOf(HasSubstr("900.0 MiB refused"),
                                               HasSubstr("768.0 MiB of 1.00 GiB free"),
                                               HasSubstr("256.0 MiB held here")));
  }
  EXPECT_NO_THROW(device_->new_buffer(64, Storage::kPrivate));
}

TEST_F(CudaDeviceTest, ALaunchThatIsRefusedFailsItsCommandBufferOnly) {
  const Step step = make_step();
  const float expected = run_step(step, encode(step, CommandBufferUse::kOnce));
  auto broken = encode(step, CommandBufferUse::kOnce);
  const TimelinePoint done{device_->new_timeline(), 1};
  Runtime::get().fail_call(2, cudaErrorInvalidConfiguration, false, "cudaLaunchKernelExC");
  compute_->commit(broken, {}, {&done, 1});
  EXPECT_THAT(
      device_error([&] { done.wait(kLong); }),
      ::testing::AllOf(HasSubstr("'step'"), HasSubstr("silu_mul (grid 1x1x1, block 128x1x1"),
                       HasSubstr("cudaErrorInvalidConfiguration")));
  EXPECT_EQ(broken->state(), CommandBufferState::kFailed);
  EXPECT_EQ(run_step(step, encode(step, CommandBufferUse::kOnce)), expected);
}

TEST_F(CudaDeviceTest, AGraphThatCannotBeMadeRefusesTheCommitAndLeavesTheCommands) {
  const Step step = make_step();
  auto recording = encode(step, CommandBufferUse::kRecorded);
  Runtime::get().fail_call(1, cudaErrorMemoryAllocation, false, "cudaGraphUpload");
  EXPECT_THAT(device_error([&] { compute_->commit(recording, {}, {}); }),
              ::testing::AllOf(HasSubstr("3 launches"), HasSubstr("cudaGraphUpload")));
  EXPECT_EQ(recording->state(), CommandBufferState::kEncoding);
  const float first = run_step(step, recording);
  EXPECT_EQ(run_step(step, recording), first);
}

TEST_F(CudaDeviceTest, ALostDeviceFailsAllThatIsUnderWayAndNamesItsKernels) {
  const Step step = make_step();
  auto recording = encode(step, CommandBufferUse::kRecorded);
  run_step(step, recording);
  Runtime::get().freeze(true);
  auto a = device_->new_timeline();
  auto b = device_->new_timeline();
  auto never = device_->new_timeline();
  const TimelinePoint ended{a, 1};
  compute_->commit(recording, {}, {&ended, 1});
  auto waiting = fill(*step.x, "after");
  const TimelinePoint gate{never, 1};
  const TimelinePoint last{b, 1};
  compute_->commit(waiting, {&gate, 1}, {&last, 1});
  std::thread waiter([&] {
    EXPECT_THAT(device_error([&] { b->wait(1, kNoTimeout); }),
                HasSubstr("cudaErrorIllegalAddress"));
  });
  Runtime::get().break_device(cudaErrorIllegalAddress);
  const std::string message = device_error([&] { a->wait(1, kLong); });
  waiter.join();
  EXPECT_THAT(message, HasSubstr("cudaErrorIllegalAddress (700"));
  EXPECT_THAT(message,
              HasSubstr("compute queue: 'step' (3 launches, 2 copies and fills: silu_mul)"));
  EXPECT_EQ(recording->state(), CommandBufferState::kFailed);
  EXPECT_EQ(waiting->state(), CommandBufferState::kFailed);
  EXPECT_TRUE(compute_->wait_idle(kShort));
  EXPECT_THROW(never->wait(1, kLong), DeviceError);
  EXPECT_THAT(device_error([&] { compute_->commit(fill(*step.y), {}, {}); }),
              HasSubstr("the device is lost"));
  EXPECT_THAT(device_error([&] { device_->new_buffer(1, Storage::kPrivate); }),
              HasSubstr("the device is lost"));
  EXPECT_THAT(device_error([&] { device_->new_queue(QueueKind::kCompute); }),
              HasSubstr("the device is lost"));
}

TEST_F(CudaDeviceTest, ALossIsSeenByThoseWhoOnlyAskForTheValue) {
  const Step step = make_step();
  Runtime::get().freeze(true);
  auto commands = fill(*step.x);
  const TimelinePoint done{device_->new_timeline(), 1};
  compute_->commit(commands, {}, {&done, 1});
  Runtime::get().break_device(cudaErrorIllegalAddress);
  while (!done.timeline->error()) EXPECT_FALSE(done.reached());
  EXPECT_EQ(commands->state(), CommandBufferState::kFailed);
}

TEST_F(CudaDeviceTest, AQueueThatHangsIsLeftBehindWithWhatItUsesUntilItEndsAfterAll) {
  const Step step = make_step();
  const uint64_t live_bytes = device_->memory().live_bytes;
  auto recording = encode(step, CommandBufferUse::kRecorded);
  run_step(step, recording);
  Runtime::get().freeze(true);
  const TimelinePoint done{device_->new_timeline(), 1};
  compute_->commit(recording, {}, {&done, 1});
  auto behind = fill(*step.y);
  const TimelinePoint last{device_->new_timeline(), 1};
  const TimelinePoint gate{device_->new_timeline(), 1};
  compute_->commit(behind, {&gate, 1}, {&last, 1});
  compute_.reset();
  EXPECT_THAT(device_error([&] { done.wait(kLong); }),
              ::testing::AllOf(HasSubstr("did not end within 20 ms"), HasSubstr("silu_mul")));
  EXPECT_THAT(device_error([&] { last.wait(kLong); }), HasSubstr("destroyed before it ran"));
  recording.reset();
  compute_ = device_->new_queue(QueueKind::kCompute);
  EXPECT_GT(device_->memory().live_bytes, live_bytes) << "the workspace";
  Runtime::get().freeze(false);
  while (device_->memory().live_bytes > live_bytes) EXPECT_TRUE(done.timeline->error());
  run_step(step, encode(step, CommandBufferUse::kRecorded));
}

// Each call of CUDA's in turn fails, once and for good. Nothing may hang, or be forgotten.
class EveryFailure : public CudaDeviceTest, public ::testing::WithParamInterface<bool> {
 protected:
  void SetUp() override {}

  // False if the scenario ran to its end without the failure.
  bool strike(uint64_t nth) {
    Runtime& runtime = Runtime::get();
    runtime.reset();
    runtime.fail_call(nth, GetParam() ? cudaErrorIllegalAddress : cudaErrorMemoryAllocation,
                      GetParam());
    try {
      scenario();
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("cudaError"));
    }
    compute_.reset();
    up_.reset();
    down_.reset();
    device_.reset();
    return runtime.all_calls() >= nth;
  }

  void scenario() {
    open();
    const Step step = make_step();
    auto recording = encode(step, CommandBufferUse::kRecorded);
    auto gate = device_->new_timeline();
    auto done = device_->new_timeline();
    auto other = device_->new_timeline();
    std::vector<std::shared_ptr<CommandBuffer>> all;
    const auto commit = [&](Queue& queue, const std::shared_ptr<CommandBuffer>& commands,
                            TimelinePoint wait, TimelinePoint end) {
      try {
        queue.commit(commands, {&wait, 1}, {&end, 1});
        all.push_back(commands);
      } catch (const Error& error) {
        end.timeline->poison(error.what());
      }
    };
    commit(*down_, fill(*step.y), {done, 1}, {other, 1});
    auto uploaded = device_->new_timeline();
    commit(*compute_, recording, {uploaded, 1}, {done, 1});
    auto upload = up_->begin(CommandBufferUse::kOnce, "upload");
    constexpr uint64_t kHalf = sizeof(ops::StepHeader) / 2;
    for (const uint64_t at : {uint64_t{0}, kHalf}) {
      upload->copy(whole(*step.params).sub(at, kHalf), whole(*step.header).sub(at, kHalf));
    }
    commit(*up_, upload, {gate, 1}, {uploaded, 1});
    commit(*compute_, fill(*step.x), {}, {done, 2});
    gate->signal(1);
    for (const TimelinePoint& point : {TimelinePoint{done, 2}, TimelinePoint{other, 1}}) {
      try {
        EXPECT_EQ(point.wait(kLong), WaitResult::kReached);
      } catch (const DeviceError& error) {
        EXPECT_THAT(error.what(), HasSubstr("cudaError"));
      }
    }
    for (Queue* queue : {compute_.get(), up_.get(), down_.get()}) {
      EXPECT_TRUE(queue->wait_idle(kLong));
    }
    for (const auto& commands : all) {
      EXPECT_THAT(commands->state(),
                  ::testing::AnyOf(CommandBufferState::kCompleted, CommandBufferState::kFailed));
    }
  }
};

TEST_P(EveryFailure, EndsInAnErrorOrInSuccessAndNeverHangs) {
  uint64_t nth = 1;
  while (strike(nth)) ++nth;
  EXPECT_GT(nth, 100U);
}

INSTANTIATE_TEST_SUITE_P(Cuda, EveryFailure, ::testing::Values(false, true),
                         [](const auto& param) { return param.param ? "ForGood" : "Once"; });

}  // namespace
}  // namespace krserve
