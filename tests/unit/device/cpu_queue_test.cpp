#include "device/cpu/cpu_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "device/cpu/cpu_timeline.h"

namespace krserve {
namespace {

using ::testing::HasSubstr;

constexpr std::chrono::seconds kLong{60};

TEST(CpuQueue, AFailureOfTheRunnerPoisonsTheSignals) {
  CpuQueue queue(QueueKind::kCompute, 0, [](CpuCommandBuffer& commands) {
    if (commands.label() == "bad") throw DeviceError("test.run", "kernel matmul failed");
  });
  auto steps = std::make_shared<CpuTimeline>();
  auto bad = queue.begin(CommandBufferUse::kOnce, "bad");
  const TimelinePoint failed{steps, 1};
  queue.commit(bad, {}, {&failed, 1});
  try {
    failed.wait(kLong);
    FAIL() << "reached";
  } catch (const DeviceError& error) {
    EXPECT_THAT(error.what(), HasSubstr("kernel matmul failed"));
  }
  EXPECT_EQ(bad->state(), CommandBufferState::kFailed);
  auto good = queue.begin(CommandBufferUse::kOnce, "good");
  const TimelinePoint done{std::make_shared<CpuTimeline>(), 1};
  queue.commit(good, {}, {&done, 1});
  EXPECT_EQ(done.wait(kLong), WaitResult::kReached);
  EXPECT_EQ(good->state(), CommandBufferState::kCompleted);
}

TEST(CpuQueue, FinishesTheRunningCommandBufferBeforeItGoes) {
  std::atomic<bool> started{false};
  std::atomic<bool> may_end{false};
  std::atomic<int> runs{0};
  auto queue = std::make_unique<CpuQueue>(QueueKind::kCompute, 0, [&](CpuCommandBuffer&) {
    ++runs;
    started = true;
    started.notify_all();
    may_end.wait(false);
  });
  auto steps = std::make_shared<CpuTimeline>();
  std::vector<std::shared_ptr<CommandBuffer>> all;
  for (uint64_t i = 1; i <= 3; ++i) {
    all.push_back(queue->begin(CommandBufferUse::kOnce, "step"));
    const TimelinePoint end{steps, i};
    queue->commit(all.back(), {}, {&end, 1});
  }
  started.wait(false);
  std::thread destroyer([&] { queue.reset(); });
  // The destroyer sets its flag before it joins; give it the time, then let the runner end.
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  may_end = true;
  may_end.notify_all();
  destroyer.join();
  EXPECT_EQ(all[0]->state(), CommandBufferState::kCompleted);
  EXPECT_TRUE(steps->reached(1));
  for (const auto& commands : all) {
    EXPECT_TRUE(commands->state() == CommandBufferState::kCompleted ||
                commands->state() == CommandBufferState::kFailed);
  }
  EXPECT_TRUE(steps->reached(3) || steps->error().has_value()) << "no waiter is left behind";
}

TEST(CpuQueue, AQueueThatWaitsLetsItselfBeDestroyed) {
  auto queue = std::make_unique<CpuQueue>(QueueKind::kCopyToHost, 50, [](CpuCommandBuffer&) {});
  const TimelinePoint never{std::make_shared<CpuTimeline>(), 1};
  const TimelinePoint end{std::make_shared<CpuTimeline>(), 1};
  auto commands = queue->begin(CommandBufferUse::kOnce, "waits");
  queue->commit(commands, {&never, 1}, {&end, 1});
  queue.reset();
  EXPECT_EQ(commands->state(), CommandBufferState::kFailed);
  EXPECT_THAT(end.timeline->error().value_or(""), HasSubstr("destroyed"));
}

TEST(CpuCommandBuffer, DescribesItsKernelsForErrors) {
  CpuCommandBuffer commands(CommandBufferUse::kOnce, "decode");
  std::byte args[8] = {};
  for (int i = 0; i < 3; ++i) commands.dispatch(ops::Op::kMatmul, args, 8, {});
  commands.barrier();
  commands.dispatch(ops::Op::kSample, args, 8, {});
  EXPECT_EQ(commands.describe(), "'decode' (5 commands: matmul, sample)");
}

}  // namespace
}  // namespace krserve
