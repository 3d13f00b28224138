#include "device/fake/fake_device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "base/units.h"

namespace krserve {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::chrono::seconds kLong{60};

class FakeDeviceTest : public ::testing::Test {
 protected:
  void open(const FakeOptions& options = {}) {
    device_ = std::make_shared<FakeDevice>(options);
    compute_ = device_->new_queue(QueueKind::kCompute);
    up_ = device_->new_queue(QueueKind::kCopyToDevice);
    data_ = device_->new_buffer(64, Storage::kShared);
  }
  void SetUp() override { open(); }

  std::shared_ptr<CommandBuffer> commit(Queue& queue, const char* label, uint8_t value,
                                        const std::vector<TimelinePoint>& waits = {},
                                        const std::vector<TimelinePoint>& signals = {}) {
    auto commands = queue.begin(CommandBufferUse::kOnce, label);
    commands->fill(whole(*data_), value);
    queue.commit(commands, waits, signals);
    return commands;
  }
  int first_byte() const { return static_cast<int>(data_->contents()[0]); }

  std::shared_ptr<FakeDevice> device_;
  std::shared_ptr<Queue> compute_;
  std::shared_ptr<Queue> up_;
  std::unique_ptr<Buffer> data_;
};

TEST_F(FakeDeviceTest, TheNthAllocationFailsAndOnlyThat) {
  device_->inject(FakeFault::kAllocation, 3);
  auto a = device_->new_heap(100, Storage::kShared);
  auto b = device_->new_buffer(100, Storage::kShared);
  EXPECT_THROW(device_->new_heap(100, Storage::kShared), OutOfMemoryError);
  auto c = device_->new_buffer(100, Storage::kShared);
  EXPECT_EQ(device_->memory().live_bytes, 364U);
}

TEST_F(FakeDeviceTest, SeveralInjectionsCountOnTheirOwn) {
  device_->inject(FakeFault::kAllocation, 1);
  device_->inject(FakeFault::kAllocation, 2);
  EXPECT_THROW(device_->new_buffer(1, Storage::kShared), OutOfMemoryError);
  EXPECT_THROW(device_->new_buffer(1, Storage::kShared), OutOfMemoryError);
  device_->inject(FakeFault::kAllocation, 1);
  device_->clear_faults();
  EXPECT_NE(device_->new_buffer(1, Storage::kShared), nullptr);
}

TEST_F(FakeDeviceTest, TheMemoryLimitHolds) {
  FakeOptions options;
  options.memory_limit_bytes = 1000;
  open(options);
  auto a = device_->new_buffer(900, Storage::kShared);
  EXPECT_THROW(device_->new_buffer(37, Storage::kShared), OutOfMemoryError);
  auto b = device_->new_buffer(36, Storage::kShared);
  a.reset();
  EXPECT_NE(device_->new_heap(900, Storage::kShared), nullptr);
}

TEST_F(FakeDeviceTest, TheNthCommitOfAKindFailsAndLeavesTheCommandBufferUsable) {
  device_->inject(FakeFault::kCommit, 2, QueueKind::kCompute);
  commit(*compute_, "one", 1);
  commit(*up_, "other kind", 2);
  auto commands = compute_->begin(CommandBufferUse::kOnce, "two");
  commands->fill(whole(*data_), 3);
  EXPECT_THROW(compute_->commit(commands, {}, {}), DeviceError);
  EXPECT_EQ(commands->state(), CommandBufferState::kEncoding);
  EXPECT_EQ(first_byte(), 2);
  compute_->commit(commands, {}, {});
  EXPECT_EQ(commands->state(), CommandBufferState::kCompleted);
  EXPECT_EQ(first_byte(), 3);
}

TEST_F(FakeDeviceTest, AnExecutionFailurePoisonsTheSignalsAndRunsNothing) {
  device_->inject(FakeFault::kExecution, 1);
  auto steps = device_->new_timeline();
  auto commands = commit(*compute_, "step", 7, {}, {{steps, 1}});
  EXPECT_EQ(commands->state(), CommandBufferState::kFailed);
  EXPECT_EQ(first_byte(), 0);
  EXPECT_THAT(steps->error().value_or(""), HasSubstr("step"));
  EXPECT_THROW(steps->wait(1, kLong), DeviceError);
  EXPECT_EQ(commit(*compute_, "step", 8)->state(), CommandBufferState::kCompleted);
}

TEST_F(FakeDeviceTest, AHungCommandBufferBlocksItsQueueUntilReleased) {
  device_->inject(FakeFault::kHang, 1);
  auto steps = device_->new_timeline();
  auto hung = commit(*compute_, "hung", 1, {}, {{steps, 1}});
  auto behind = commit(*compute_, "behind", 2, {}, {{steps, 2}});
  EXPECT_EQ(commit(*up_, "other queue", 3)->state(), CommandBufferState::kCompleted);
  EXPECT_EQ(hung->state(), CommandBufferState::kCommitted);
  const uint64_t before = device_->clock_ns();
  EXPECT_EQ(steps->wait(1, std::chrono::seconds(5)), WaitResult::kTimeout);
  EXPECT_EQ(device_->clock_ns(), before + 5'000'000'000) << "simulated, not slept";
  EXPECT_FALSE(compute_->wait_idle(std::chrono::seconds(5)));
  EXPECT_EQ(device_->clock_ns(), before + 10'000'000'000);
  device_->release_hangs();
  EXPECT_EQ(steps->wait(2, kLong), WaitResult::kReached);
  EXPECT_TRUE(compute_->wait_idle(kNoTimeout));
  EXPECT_EQ(first_byte(), 2);
}

TEST_F(FakeDeviceTest, AHungCommandBufferFailsWithItsQueue) {
  device_->inject(FakeFault::kHang, 1);
  auto steps = device_->new_timeline();
  auto hung = commit(*compute_, "hung", 1, {}, {{steps, 1}});
  std::thread waiter([&] { EXPECT_THROW(steps->wait(1, kNoTimeout), DeviceError); });
  compute_.reset();
  waiter.join();
  EXPECT_EQ(hung->state(), CommandBufferState::kFailed);
}

TEST_F(FakeDeviceTest, ALostCompletionRanButSignalsNothing) {
  device_->inject(FakeFault::kLostCompletion, 1);
  auto steps = device_->new_timeline();
  auto lost = commit(*compute_, "lost", 4, {}, {{steps, 1}});
  EXPECT_EQ(lost->state(), CommandBufferState::kCompleted);
  EXPECT_EQ(first_byte(), 4);
  EXPECT_EQ(steps->wait(1, std::chrono::milliseconds(1)), WaitResult::kTimeout);
  EXPECT_EQ(steps->error(), std::nullopt);
}

TEST_F(FakeDeviceTest, OverlapsAndGapsComeOutAsConstructed) {
  device_->set_duration("compute", 1000);
  device_->set_duration("copy", 300);
  device_->advance_clock(9000);  // from 1000
  auto steps = device_->new_timeline();
  auto uploads = device_->new_timeline();
  auto first = commit(*compute_, "compute", 1, {}, {{steps, 1}});
  auto beside = commit(*up_, "copy", 1, {}, {{uploads, 1}});
  auto second = commit(*compute_, "compute", 1, {{uploads, 1}}, {{steps, 2}});
  auto after = commit(*up_, "copy", 1, {{steps, 2}}, {{uploads, 2}});
  EXPECT_EQ(first->timestamps().start_ns, 10000U);
  EXPECT_EQ(first->timestamps().end_ns, 11000U);
  EXPECT_EQ(beside->timestamps().start_ns, 10000U);
  EXPECT_EQ(beside->timestamps().end_ns, 10300U);
  EXPECT_EQ(second->timestamps().start_ns, 11000U) << "its lane was busy";
  EXPECT_EQ(after->timestamps().start_ns, 12000U) << "its wait ended later than its lane";
  EXPECT_EQ(device_->clock_ns(), 10000U) << "the host has not waited for anything";
  steps->wait(1, kLong);
  EXPECT_EQ(device_->clock_ns(), 11000U);
  uploads->wait(2, kLong);
  EXPECT_EQ(device_->clock_ns(), 12300U);
  device_->advance_clock(700);
  auto late = commit(*compute_, "compute", 1, {}, {{steps, 3}});
  EXPECT_EQ(late->timestamps().start_ns, 13000U);
}

TEST_F(FakeDeviceTest, AHostSignalHappensAtTheClocksTime) {
  auto gate = device_->new_timeline();
  auto commands = commit(*compute_, "step", 1, {{gate, 1}});
  device_->advance_clock(5000);
  gate->signal(1);
  EXPECT_EQ(commands->timestamps().start_ns, 6000U);
}

TEST_F(FakeDeviceTest, ManualModeRunsTheOldestThatCanRun) {
  FakeOptions options;
  options.manual = true;
  open(options);
  auto gate = device_->new_timeline();
  commit(*up_, "blocked", 1, {{gate, 1}});
  commit(*compute_, "a", 2);
  auto other = device_->new_queue(QueueKind::kCopyToHost);
  commit(*other, "b", 3);
  commit(*compute_, "c", 4);
  EXPECT_EQ(first_byte(), 0);
  EXPECT_TRUE(device_->step());
  EXPECT_EQ(first_byte(), 2);
  gate->signal(1);  // now the oldest can
  EXPECT_TRUE(device_->step());
  EXPECT_EQ(first_byte(), 1);
  EXPECT_TRUE(device_->step());
  EXPECT_EQ(first_byte(), 3);
  EXPECT_TRUE(device_->step());
  EXPECT_EQ(first_byte(), 4);
  EXPECT_FALSE(device_->step());
  commit(*compute_, "d", 5);
  device_->set_manual(false);
  EXPECT_EQ(first_byte(), 5);
}

TEST_F(FakeDeviceTest, AWaitWithoutALimitIsEndedByAnotherThread) {
  FakeOptions options;
  options.manual = true;
  open(options);
  auto steps = device_->new_timeline();
  commit(*compute_, "a", 9, {}, {{steps, 1}});
  std::thread stepper([&] { EXPECT_TRUE(device_->step()); });
  EXPECT_EQ(steps->wait(1, kNoTimeout), WaitResult::kReached);
  EXPECT_TRUE(compute_->wait_idle(kNoTimeout));
  stepper.join();
}

TEST_F(FakeDeviceTest, RecordsTheCalls) {
  FakeOptions options;
  open(options);
  commit(*compute_, "decode", 1);
  device_->inject(FakeFault::kExecution, 1, QueueKind::kCopyToDevice);
  commit(*up_, "upload", 1);
  EXPECT_THAT(device_->calls(),
              ElementsAre("new_buffer 64", "begin compute decode", "commit compute decode",
                          "begin copy_to_device upload", "commit copy_to_device upload",
                          "fail copy_to_device upload"));
  EXPECT_EQ(device_->count_calls("commit "), 2U);
}

TEST_F(FakeDeviceTest, WithoutUnifiedMemoryNothingIsWrapped) {
  FakeOptions options;
  options.unified_memory = false;
  open(options);
  EXPECT_EQ(device_->wrap_host_memory(&options, sizeof(options)), nullptr);
  EXPECT_FALSE(device_->info().unified_memory);
}

}  // namespace
}  // namespace krserve
