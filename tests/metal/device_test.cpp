// The Metal back end on the model of Metal: what goes wrong there, and what it makes of it. That it
// does right is the parity suite's business. check_violations.cpp fails a test by what the model
// refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/units.h"
#include "device/metal/metal_device.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/step_params.h"
#include "metal/fake/gpu.h"
#include "metal/fake/objc_model.h"

namespace krserve {
namespace {

using fake_metal::Failure;
using fake_metal::Gpu;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::chrono::seconds kLong{60};
using Bytes = std::vector<uint8_t>;

class MetalDeviceTest : public ::testing::TestWithParam<MetalPath> {
 protected:
  void SetUp() override { Gpu::get().reset(); }

  void TearDown() override {
    queue_.reset();
    device_.reset();
    EXPECT_TRUE(Gpu::get().wait_idle(std::chrono::milliseconds(60'000)));
  }

  void open(MetalDeviceOptions options = {}) {
    options.path = GetParam();
    device_ = make_metal_device(options);
    queue_ = device_->new_queue(QueueKind::kCompute);
  }

  std::shared_ptr<CommandBuffer> fill(Buffer& buffer, uint8_t value) {
    auto commands = queue_->begin(CommandBufferUse::kOnce, "the fill");
    commands->fill(whole(buffer), value);
    return commands;
  }
  TimelinePoint commit(const std::shared_ptr<CommandBuffer>& commands) {
    const TimelinePoint end{device_->new_timeline(), 1};
    queue_->commit(commands, {}, {&end, 1});
    return end;
  }
  // What the wait throws, or "".
  static std::string error_of(const TimelinePoint& point) {
    try {
      EXPECT_EQ(point.wait(kLong), WaitResult::kReached);
    } catch (const DeviceError& error) {
      return error.what();
    }
    return "";
  }
  static Bytes bytes_of(Buffer& buffer) {
    const auto* first = reinterpret_cast<const uint8_t*>(buffer.contents());
    return {first, first + buffer.size_bytes()};
  }
  bool fills_well() {
    auto one = device_->new_buffer(1000, Storage::kShared);
    if (!error_of(commit(fill(*one, 7))).empty()) return false;
    return bytes_of(*one) == Bytes(1000, 7);
  }

  // Matmuls of one row, recorded, each behind a barrier.
  std::shared_ptr<CommandBuffer> record_matmuls(uint32_t count);

  std::shared_ptr<Device> device_;
  std::shared_ptr<Queue> queue_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
};

std::shared_ptr<CommandBuffer> MetalDeviceTest::record_matmuls(uint32_t count) {
  constexpr uint32_t kSide = 64;
  const auto buffer = [&](uint64_t bytes) {
    buffers_.push_back(device_->new_buffer(bytes, Storage::kShared));
    std::memset(buffers_.back()->contents(), 0, bytes);
    return whole(*buffers_.back());
  };
  const BufferView params = buffer(sizeof(ops::StepHeader));
  reinterpret_cast<ops::StepHeader*>(params.contents())->num_rows = 1;
  const BufferView x = buffer(kSide * sizeof(float));
  const BufferView weight = buffer(kSide * kSide * sizeof(float));
  const BufferView y = buffer(kSide * sizeof(float));
  ops::MatmulArgs args{};
  args.weight.format = ops::WeightFormat::kF32;
  args.weight.n = kSide;
  args.weight.k = kSide;
  auto commands = queue_->begin(CommandBufferUse::kRecorded, "matmuls");
  const BufferView views[] = {params, x, weight, {}, {}, {}, y};
  for (uint32_t i = 0; i < count; ++i) {
    commands->dispatch(ops::Op::kMatmul, args, views);
    commands->barrier();
  }
  return commands;
}

struct Code {
  long metal3;
  long metal4;
  const char* text;
  const char* told;
  const char* remedy;
};

TEST_P(MetalDeviceTest, EachOfMetalsErrorsIsToldWithItsRemedyAndTheQueueGoesOn) {
  open();
  const Code codes[] = {
      {8, 3, "Insufficient Memory", "out of memory", "memory.limit_mb"},
      {2, 1, "Caused GPU Timeout Error", "took too long", "prefill_chunk_tokens"},
      {1, 6, "Impacting Interactivity (0000000e)", "the display", "prefill_chunk_tokens"},
      {5, 6, "Innocent Victim of GPU Error/Recovery", "fault of other work", "nothing to do"},
      {3, 6, "Caused GPU Address Fault Error", "", "metal-selftest"},
      {7, 2, "Insufficient Permission (to submit GPU work from background)", "does not let",
       "foreground"},
  };
  for (const Code& code : codes) {
    Failure failure;
    failure.code = GetParam() == MetalPath::kMetal4 ? code.metal4 : code.metal3;
    failure.text = code.text;
    Gpu::get().fail_submission(1, failure);
    auto one = device_->new_buffer(64, Storage::kShared);
    const auto commands = fill(*one, 1);
    const std::string error = error_of(commit(commands));
    EXPECT_THAT(error, HasSubstr(code.told));
    EXPECT_THAT(error, HasSubstr(code.text)) << "Metal's own words";
    EXPECT_THAT(error, HasSubstr(code.remedy));
    EXPECT_THAT(error, HasSubstr("the fill"));
    EXPECT_EQ(commands->state(), CommandBufferState::kFailed);
    EXPECT_TRUE(fills_well());
  }
}

TEST_P(MetalDeviceTest, WorkBehindAFailureOfAnotherQueueFailsToo) {
  open();
  auto other = device_->new_queue(QueueKind::kCompute);
  auto one = device_->new_buffer(64, Storage::kShared);
  auto timeline = device_->new_timeline();
  Gpu::get().freeze(true);  // so that both are on the GPU before the first has failed
  Gpu::get().fail_submission(1, {8, "Insufficient Memory"});
  const TimelinePoint first{timeline, 1};
  const TimelinePoint second{device_->new_timeline(), 1};
  queue_->commit(fill(*one, 1), {}, {&first, 1});
  auto next = other->begin(CommandBufferUse::kOnce, "next");
  next->fill(whole(*one), 2);
  other->commit(next, {&first, 1}, {&second, 1});
  Gpu::get().freeze(false);
  EXPECT_THAT(error_of(first), HasSubstr("Insufficient Memory"));
  EXPECT_THAT(error_of(second), HasSubstr("Insufficient Memory"));
  EXPECT_TRUE(other->wait_idle(kLong));
  EXPECT_TRUE(fills_well());
}

TEST_P(MetalDeviceTest, ARemovedDeviceIsLostForEverybody) {
  open();
  auto one = device_->new_buffer(64, Storage::kShared);
  Gpu::get().fail_submission(1, {GetParam() == MetalPath::kMetal4 ? 4 : 11, "device gone"});
  EXPECT_THAT(error_of(commit(fill(*one, 1))), HasSubstr("the GPU is gone"));
  EXPECT_THROW(device_->new_buffer(64, Storage::kShared), DeviceError);
  EXPECT_THROW(commit(fill(*one, 1)), DeviceError);
}

// A step of the emulator's takes the better part of a millisecond.
TEST_P(MetalDeviceTest, ALongProgramIsCutIntoSeveralOfMetalsCommandBuffers) {
  for (const int budget_ms : {60'000, 1}) {
    MetalDeviceOptions options;
    options.command_buffer_budget = std::chrono::milliseconds(budget_ms);
    queue_.reset();
    open(options);
    const auto few = record_matmuls(10);
    const auto many = record_matmuls(60);
    EXPECT_EQ(error_of(commit(few)), "");  // after which the queue knows how long it takes
    Gpu::get().fail_submission(3, {8, "Insufficient Memory"});
    if (budget_ms > 1) {
      EXPECT_EQ(error_of(commit(many)), "");
      EXPECT_EQ(error_of(commit(many)), "");
    }
    EXPECT_THAT(error_of(commit(many)), HasSubstr("Insufficient Memory"));
  }
}

TEST_P(MetalDeviceTest, WhatMetalRefusesIsOutOfMemoryAndNothingIsLost) {
  open();
  const DeviceMemory before = device_->memory();
  for (const Storage storage : {Storage::kPrivate, Storage::kShared}) {
    Gpu::get().fail_allocation(1);
    EXPECT_THROW(device_->new_buffer(1 << 20, storage), OutOfMemoryError);
    Gpu::get().fail_allocation(1);
    EXPECT_THROW(device_->new_heap(1 << 20, storage), OutOfMemoryError);
  }
  EXPECT_EQ(device_->memory().live_bytes, before.live_bytes);
  EXPECT_TRUE(fills_well());
}

TEST_P(MetalDeviceTest, MoreThanTheWorkingSetIsRefusedWithTheNumbers) {
  fake_metal::Options model;
  model.working_set_bytes = 64 * kMiB;
  Gpu::get().reset(model);
  open();
  auto half = device_->new_heap(40 * kMiB, Storage::kShared);
  try {
    device_->new_heap(40 * kMiB, Storage::kShared);
    FAIL() << "lent";
  } catch (const OutOfMemoryError& error) {
    EXPECT_THAT(error.what(), HasSubstr("40.0 MiB"));
    EXPECT_THAT(error.what(), HasSubstr("64.0 MiB"));
    EXPECT_THAT(error.what(), HasSubstr("iogpu.wired_limit_mb"));
  }
}

TEST_P(MetalDeviceTest, AQueueThatIsDestroyedWhileItsWorkHangsFailsIt) {
  MetalDeviceOptions options;
  options.close_patience = std::chrono::milliseconds(20);
  open(options);
  auto one = device_->new_buffer(64, Storage::kShared);
  Gpu::get().freeze(true);
  const TimelinePoint end = commit(fill(*one, 1));
  queue_.reset();
  EXPECT_THAT(error_of(end), HasSubstr("did not end within 20 ms"));
  Gpu::get().freeze(false);  // the GPU may still write: the buffer lives until then
  EXPECT_TRUE(Gpu::get().wait_idle(std::chrono::milliseconds(60'000)));
}

TEST_P(MetalDeviceTest, MemoryIsAskedForAgainWhileItIsInUseAndNotAfterwards) {
  MetalDeviceOptions options;
  options.keep_resident = std::chrono::seconds(3600);
  open(options);
  EXPECT_TRUE(fills_well());
  const uint64_t before = Gpu::get().residency_requests();
  for (int i = 0; i < 600 && Gpu::get().residency_requests() < before + 2; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  EXPECT_GE(Gpu::get().residency_requests(), before + 2);
  queue_.reset();
  options.keep_resident = std::chrono::seconds(0);
  open(options);
  EXPECT_TRUE(fills_well());
  const uint64_t after = Gpu::get().residency_requests();
  std::this_thread::sleep_for(std::chrono::milliseconds(1200));
  EXPECT_EQ(Gpu::get().residency_requests(), after);
}

TEST_P(MetalDeviceTest, AMappedFileIsReadWhereItLiesWhateverItsLength) {
  open();
  Bytes pages(100'003);
  for (size_t i = 0; i < pages.size(); ++i) pages[i] = static_cast<uint8_t>(i * 7);
  const uint64_t before = device_->memory().live_bytes;
  auto wrapped = device_->wrap_host_memory(pages.data() + 3, 90'001);
  ASSERT_NE(wrapped, nullptr);
  EXPECT_EQ(device_->memory().live_bytes, before);
  auto to = device_->new_buffer(90'001, Storage::kShared);
  auto commands = queue_->begin(CommandBufferUse::kOnce, "copy");
  commands->copy(whole(*to), whole(*wrapped));
  EXPECT_EQ(error_of(commit(commands)), "");
  EXPECT_EQ(bytes_of(*to), Bytes(pages.begin() + 3, pages.begin() + 90'004));
}

TEST_P(MetalDeviceTest, KernelsThatMetalRefusesAreToldInItsWords) {
  Gpu::get().fail_compilation("program_source:12:3: error: no such type");
  try {
    open();
    FAIL() << "opened";
  } catch (const DeviceError& error) {
    EXPECT_EQ(error.where(), "device.open");
    EXPECT_THAT(error.what(), HasSubstr("program_source:12:3: error: no such type"));
    EXPECT_THAT(error.what(), HasSubstr("metal-selftest"));
  }
}

TEST_P(MetalDeviceTest, ACaptureHoldsTheCommandBuffersAskedFor) {
  const auto file = std::filesystem::temp_directory_path() / "krserve_capture_test.gputrace";
  std::filesystem::remove(file);
  MetalDeviceOptions options;
  options.capture_file = file.string();
  options.capture_skip = 1;
  options.capture_count = 2;
  EXPECT_THROW(open(options), DeviceError) << "without MTL_CAPTURE_ENABLED";
  setenv("MTL_CAPTURE_ENABLED", "1", 1);
  open(options);
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(fills_well());
    EXPECT_FALSE(std::filesystem::exists(file));
  }
  EXPECT_TRUE(fills_well());
  EXPECT_TRUE(std::filesystem::exists(file));
  EXPECT_THROW(make_metal_device(options), DeviceError) << "the file is there";
  unsetenv("MTL_CAPTURE_ENABLED");
  std::filesystem::remove(file);
}

TEST_P(MetalDeviceTest, OpeningAndClosingLeavesNoObjectsBehind) {
  open();
  EXPECT_TRUE(fills_well());
  queue_.reset();
  device_.reset();
  EXPECT_TRUE(Gpu::get().wait_idle(std::chrono::milliseconds(60'000)));
  auto live = fake_metal::Runtime::get().live_objects();
  live.erase("MTLDevice");  // the system's, as is the next
  live.erase("MTLCaptureManager");
  EXPECT_THAT(live, IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Paths, MetalDeviceTest,
                         ::testing::Values(MetalPath::kMetal3, MetalPath::kMetal4),
                         [](const ::testing::TestParamInfo<MetalPath>& one) {
                           return one.param == MetalPath::kMetal3 ? "Metal3" : "Metal4";
                         });

TEST(MetalDeviceOnOldSystems, Metal4IsRefusedWithTheReason) {
  fake_metal::Options model;
  model.macos = 15;
  Gpu::get().reset(model);
  MetalDeviceOptions options;
  options.path = MetalPath::kMetal4;
  try {
    make_metal_device(options);
    FAIL() << "opened";
  } catch (const DeviceError& error) {
    EXPECT_EQ(error.where(), "device.open");
    EXPECT_THAT(error.what(), HasSubstr("macOS 26"));
  }
}

TEST(MetalDeviceOnOldSystems, Metal3WorksWithAndWithoutResidencySets) {
  for (const int macos : {14, 15}) {
    fake_metal::Options model;
    model.macos = macos;
    Gpu::get().reset(model);
    auto device = make_metal_device();
    EXPECT_THAT(device->info().name, HasSubstr("Metal 3"));
    auto queue = device->new_queue(QueueKind::kCompute);
    auto heap = device->new_heap(1 << 16, Storage::kShared);
    auto commands = queue->begin(CommandBufferUse::kOnce, "fill");
    commands->fill(whole(heap->buffer()), 9);
    const TimelinePoint end{device->new_timeline(), 1};
    queue->commit(commands, {}, {&end, 1});
    EXPECT_EQ(end.wait(kLong), WaitResult::kReached);
    EXPECT_EQ(heap->buffer().contents()[(1 << 16) - 1], std::byte{9});
  }
}

}  // namespace
}  // namespace krserve
