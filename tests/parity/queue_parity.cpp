#include <thread>

#include "parity/parity.h"

namespace krserve::parity {
namespace {

using ::testing::HasSubstr;

TEST_P(Parity, CommandBuffersOfOneQueueRunInOrder) {
  constexpr uint8_t kSteps = 100;
  auto current = buffer_of(Bytes(512, 0));
  auto journal = buffer_of(Bytes(kSteps, 0));
  auto gate = device_->new_timeline();
  auto done = device_->new_timeline();
  for (uint8_t i = 0; i < kSteps; ++i) {
    auto commands = begin(*compute_);
    commands->copy(whole(*journal).sub(i, 1), whole(*current).sub(511, 1));
    commands->barrier();
    commands->fill(whole(*current), static_cast<uint8_t>(i + 1));
    commit(*compute_, commands, {{gate, i < 50 ? 0U : 1U}}, {{done, uint64_t{i} + 1}});
  }
  gate->signal(1);
  ASSERT_EQ(done->wait(kSteps, kLong), WaitResult::kReached);
  Bytes expected(kSteps);
  for (uint8_t i = 0; i < kSteps; ++i) expected[i] = i;
  EXPECT_EQ(read_all<uint8_t>(whole(*journal)), expected);
}

TEST_P(Parity, ABufferForOneUseIsCommittedOnce) {
  auto one = buffer(64);
  auto commands = begin(*compute_);
  commands->fill(whole(*one), 1);
  EXPECT_EQ(commands->state(), CommandBufferState::kEncoding);
  run(*compute_, commands);
  EXPECT_THROW(compute_->commit(commands, {}, {}), DeviceError);
  EXPECT_EQ(commands->state(), CommandBufferState::kCompleted);
}

TEST_P(Parity, ACommandBufferInFlightIsNotCommittedAgain) {
  auto one = buffer(64);
  auto gate = device_->new_timeline();
  const TimelinePoint done{device_->new_timeline(), 1};
  auto commands = compute_->begin(CommandBufferUse::kRecorded, "twice");
  commands->fill(whole(*one), 1);
  commit(*compute_, commands, {{gate, 1}}, {done});
  try {
    compute_->commit(commands, {}, {});
    FAIL() << "committed while in flight";
  } catch (const DeviceError& error) {
    EXPECT_THAT(error.what(), HasSubstr("twice"));
  }
  gate->signal(1);
  EXPECT_EQ(done.wait(kLong), WaitResult::kReached);
  run(*compute_, commands);
}

TEST_P(Parity, NothingIsEncodedAfterTheCommit) {
  auto one = buffer(64);
  for (const auto use : {CommandBufferUse::kOnce, CommandBufferUse::kRecorded}) {
    auto commands = compute_->begin(use, "closed");
    commands->fill(whole(*one), 1);
    run(*compute_, commands);
    EXPECT_THROW(commands->fill(whole(*one), 2), DeviceError);
    EXPECT_THROW(commands->copy(whole(*one).sub(0, 8), whole(*one).sub(8, 8)), DeviceError);
    EXPECT_THROW(commands->barrier(), DeviceError);
  }
  EXPECT_EQ(read_all<uint8_t>(whole(*one)), Bytes(64, 1));
}

TEST_P(Parity, WhatIsNotACommandBufferOfTheDeviceIsRefused) {
  EXPECT_THROW(compute_->commit(nullptr, {}, {}), DeviceError);
}

TEST_P(Parity, AFailedCommandBufferPoisonsItsSignalsAndTheQueueGoesOn) {
  auto one = buffer_of(Bytes(64, 0));
  auto broken = device_->new_timeline();
  broken->poison("upload 12 failed");
  auto a = device_->new_timeline();
  auto b = device_->new_timeline();
  auto commands = compute_->begin(CommandBufferUse::kRecorded, "step");
  commands->fill(whole(*one), 1);
  commit(*compute_, commands, {{broken, 1}}, {{a, 1}, {b, 1}});
  EXPECT_THROW(a->wait(1, kLong), DeviceError);
  EXPECT_THROW(b->wait(1, kLong), DeviceError);
  EXPECT_THAT(a->error().value_or(""), HasSubstr("upload 12 failed"));
  EXPECT_EQ(commands->state(), CommandBufferState::kFailed);
  EXPECT_THROW(compute_->commit(commands, {}, {}), DeviceError) << "encode it afresh";
  auto next = begin(*compute_);
  next->fill(whole(*one).sub(0, 32), 2);
  run(*compute_, next);
  Bytes expected(64, 0);
  std::fill_n(expected.begin(), 32, uint8_t{2});
  EXPECT_EQ(read_all<uint8_t>(whole(*one)), expected);
}

TEST_P(Parity, AnErrorTravelsAlongAChainOfQueues) {
  auto one = buffer(64);
  auto first = device_->new_timeline();
  auto second = device_->new_timeline();
  auto third = device_->new_timeline();
  commit_fill(*down_, whole(*one), 3, {{second, 1}}, {{third, 1}});
  commit_fill(*compute_, whole(*one), 2, {{first, 1}}, {{second, 1}});
  first->poison("lost at the source");
  EXPECT_THROW(third->wait(1, kLong), DeviceError);
  EXPECT_THAT(third->error().value_or(""), HasSubstr("lost at the source"));
}

TEST_P(Parity, TimestampsAreOrderedAndDoNotOverlapWithinAQueue) {
  auto one = buffer(1 << 20);
  auto done = device_->new_timeline();
  const uint64_t before = device_->clock_ns();
  std::vector<std::shared_ptr<CommandBuffer>> all;
  for (uint64_t i = 1; i <= 20; ++i) {
    all.push_back(commit_fill(*compute_, whole(*one), 1, {}, {{done, i}}));
  }
  ASSERT_EQ(done->wait(20, kLong), WaitResult::kReached);
  uint64_t previous_end = before;
  for (const auto& commands : all) {
    const Timestamps times = commands->timestamps();
    EXPECT_GE(times.start_ns, previous_end);
    EXPECT_GE(times.end_ns, times.start_ns);
    previous_end = times.end_ns;
  }
  EXPECT_LE(previous_end, device_->clock_ns());
}

TEST_P(Parity, ACommandBufferStartsAfterTheEndOfWhatItWaitsFor) {
  auto one = buffer(1 << 20);
  auto timeline = device_->new_timeline();
  auto first = commit_fill(*compute_, whole(*one), 1, {}, {{timeline, 1}});
  auto second = commit_fill(*down_, whole(*one), 2, {{timeline, 1}}, {{timeline, 2}});
  ASSERT_EQ(timeline->wait(2, kLong), WaitResult::kReached);
  EXPECT_GE(second->timestamps().start_ns, first->timestamps().end_ns);
}

TEST_P(Parity, WaitIdleSeesTheEndOfEverythingCommitted) {
  EXPECT_TRUE(compute_->wait_idle(kLong));
  auto one = buffer(64);
  auto gate = device_->new_timeline();
  auto commands = commit_fill(*compute_, whole(*one), 6, {{gate, 1}}, {});
  EXPECT_FALSE(compute_->wait_idle(kShort));
  EXPECT_TRUE(down_->wait_idle(kLong)) << "another queue's work is not its own";
  gate->signal(1);
  EXPECT_TRUE(compute_->wait_idle(kNoTimeout));
  EXPECT_EQ(commands->state(), CommandBufferState::kCompleted);
  EXPECT_EQ(read_all<uint8_t>(whole(*one)), Bytes(64, 6));
}

TEST_P(Parity, WaitIdleCountsFailedWorkAsEnded) {
  auto broken = device_->new_timeline();
  broken->poison("x");
  auto one = buffer(64);
  auto commands = commit_fill(*compute_, whole(*one), 6, {{broken, 1}}, {});
  EXPECT_TRUE(compute_->wait_idle(kLong));
  EXPECT_EQ(commands->state(), CommandBufferState::kFailed);
}

TEST_P(Parity, WhatAQueueNeverRanFailsWhenItIsDestroyed) {
  auto one = buffer_of(Bytes(64, 0));
  auto never = device_->new_timeline();
  auto done = device_->new_timeline();
  auto elsewhere = device_->new_timeline();
  auto queue = device_->new_queue(QueueKind::kCompute);
  auto first = commit_fill(*queue, whole(*one), 1, {{never, 1}}, {{done, 1}});
  auto second = commit_fill(*queue, whole(*one), 2, {}, {{done, 2}});
  auto dependent = commit_fill(*down_, whole(*one), 3, {{done, 2}}, {{elsewhere, 1}});
  std::thread waiter([&] { EXPECT_THROW(done->wait(2, kNoTimeout), DeviceError); });
  queue.reset();
  waiter.join();
  EXPECT_THROW(done->wait(1, kLong), DeviceError);
  EXPECT_THROW(elsewhere->wait(1, kLong), DeviceError);
  EXPECT_TRUE(down_->wait_idle(kLong));
  EXPECT_EQ(first->state(), CommandBufferState::kFailed);
  EXPECT_EQ(second->state(), CommandBufferState::kFailed);
  EXPECT_EQ(dependent->state(), CommandBufferState::kFailed);
  EXPECT_EQ(read_all<uint8_t>(whole(*one)), Bytes(64, 0));
}

TEST_P(Parity, QueuesAreDestroyedWhileTheyWork) {
  auto one = buffer(4 << 20);
  for (int round = 0; round < 20; ++round) {
    auto queue = device_->new_queue(round % 2 ? QueueKind::kCompute : QueueKind::kCopyToHost);
    auto done = device_->new_timeline();
    for (uint64_t i = 1; i <= 8; ++i) commit_fill(*queue, whole(*one), 1, {}, {{done, i}});
    queue.reset();
    EXPECT_TRUE(done->reached(8) || done->error().has_value());
  }
}

TEST_P(Parity, AQueueOutlivesItsDevice) {
  auto one = buffer_of(Bytes(64, 0));
  auto queue = device_->new_queue(QueueKind::kCompute);
  auto timeline = device_->new_timeline();
  compute_.reset();
  device_.reset();
  commit_fill(*queue, whole(*one), 1, {}, {{timeline, 1}});
  EXPECT_EQ(timeline->wait(1, kLong), WaitResult::kReached);
}

TEST_P(Parity, FourThreadsCommitToTwoQueues) {
  constexpr uint64_t kSteps = 40;
  auto other = device_->new_queue(QueueKind::kCompute);
  std::vector<std::unique_ptr<Buffer>> buffers;
  for (int i = 0; i < 4; ++i) buffers.push_back(buffer_of(Bytes(3000, 0)));
  std::vector<std::thread> threads;
  for (size_t i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      auto mine = device_->new_timeline();
      for (uint64_t step = 1; step <= kSteps; ++step) {
        Queue& queue = (i + step) % 2 ? *compute_ : *other;
        // From queue to queue: only the timeline keeps the order.
        commit_fill(queue, whole(*buffers[i]), static_cast<uint8_t>(step), {{mine, step - 1}},
                    {{mine, step}});
        if (step % 16 == 0) mine->wait(step, kLong);
      }
      EXPECT_EQ(mine->wait(kSteps, kLong), WaitResult::kReached);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& one : buffers) {
    EXPECT_EQ(read_all<uint8_t>(whole(*one)), Bytes(3000, kSteps));
  }
}

}  // namespace
}  // namespace krserve::parity
