#include "runtime/command_ring/command_ring.h"

#include <thread>

#include "unit/runtime/command_ring_fixture.h"
#include "unit/runtime/log_capture.h"

namespace krserve::runtime {
namespace {

using ::testing::HasSubstr;

using CommandRingTest = RingFixture;

TEST_F(CommandRingTest, SizesOutsideTwoToEightAreRefusedWithTheSeedsText) {
  for (const int64_t size : {int64_t{1}, int64_t{9}, int64_t{0}, int64_t{-1}}) {
    try {
      open(ring_of(size));
      FAIL() << size;
    } catch (const ConfigError& error) {
      EXPECT_THAT(error.what(), HasSubstr("CommandBufferRing: Invalid ring_size (must be >= 2)"));
      EXPECT_THAT(error.what(), HasSubstr("use 2..8"));
    }
  }
  for (const int64_t size : {2, 8}) {
    open(ring_of(size));
    EXPECT_EQ(ring_->size(), size);
  }
}

TEST_F(CommandRingTest, SlotsComeRoundInOrder) {
  open(ring_of(3));
  for (uint32_t i = 0; i < 10; ++i) {
    uint32_t slot = 99;
    EXPECT_TRUE(step(&slot).reached());
    EXPECT_EQ(slot, i % 3);
    EXPECT_EQ(data_->contents()[0], std::byte(slot + 1));
  }
}

TEST_F(CommandRingTest, AcquireWaitsForTheFenceOfItsSlot) {
  open(ring_of(2), true);
  step();
  EXPECT_TRUE(ring_->next_is_free());
  step();
  EXPECT_FALSE(ring_->next_is_free());
  EXPECT_EQ(ring_->in_flight(), 2U);
  std::thread stepper([&] { EXPECT_TRUE(device_->step()); });
  EXPECT_EQ(ring_->acquire().index, 0U);
  stepper.join();
  EXPECT_EQ(ring_->in_flight(), 1U) << "only its own step had to end";
  const RingStatistics s = ring_->statistics();
  EXPECT_EQ(s.total_acquisitions, 3U);
  EXPECT_LE(s.wait_events, 1U) << "none if the step came first";
  EXPECT_EQ(s.timeouts, 0U);
}

// The simulated clock: the wait lasts until the slot's step ends, which is all work.
TEST_F(CommandRingTest, TheDevicesOwnTimeIsBlockedButNotWaited) {
  open(ring_of(2));
  device_->set_manual(true);
  device_->set_duration("step", 1'000'000);
  step();
  step();
  const uint64_t began = ring_->begin_wait();
  device_->step();                    // on the device from 1000 to 1,001,000 ns
  device_->advance_clock(1'000'000);  // 2,000,000 - 1,000,000: its end
  device_->advance_clock(250'000);    // the host comes late
  ring_->end_wait(began);
  ring_->acquire();
  const RingStatistics s = ring_->statistics();
  EXPECT_EQ(s.wait_events, 1U);
  EXPECT_DOUBLE_EQ(s.max_blocked_ms, 1.25);
  EXPECT_DOUBLE_EQ(s.max_wait_ms, 0.25);
  EXPECT_DOUBLE_EQ(s.wait_ms, 0.25);
  EXPECT_DOUBLE_EQ(s.avg_wait_ms, 0.25 / 3);
  EXPECT_DOUBLE_EQ(s.avg_blocked_ms, 1.25 / 3);
}

TEST_F(CommandRingTest, ATimeOutIsThrownCountedAndLeavesTheSlotNext) {
  open(ring_of(2, 3), true);
  step();
  step();
  for (uint64_t i = 1; i <= 2; ++i) {
    try {
      ring_->acquire();
      FAIL() << "acquired";
    } catch (const TimeoutError& error) {
      EXPECT_THAT(error.what(), HasSubstr("slot 0 of 2 was still in flight after 3 ms"));
    }
    EXPECT_EQ(ring_->statistics().timeouts, i);
    EXPECT_EQ(ring_->statistics().wait_events, i);
    EXPECT_DOUBLE_EQ(ring_->statistics().max_wait_ms, 3.0) << "a hung step is no work";
  }
  EXPECT_EQ(ring_->statistics().total_acquisitions, 2U);
  device_->step();
  EXPECT_EQ(ring_->acquire().index, 0U);
  ring_->note_timeout();
  EXPECT_EQ(ring_->statistics().timeouts, 3U);
}

TEST_F(CommandRingTest, WithoutATimeOutItWaitsWithoutALimit) {
  open(ring_of(2));
  EXPECT_EQ(ring_->timeout(), kNoTimeout);
  open(ring_of(2, 250));
  EXPECT_EQ(ring_->timeout(), std::chrono::milliseconds(250));
}

TEST_F(CommandRingTest, ReuseRateCountsReplays) {
  open(ring_of(3));
  for (int i = 0; i < 12; ++i) step();
  RingStatistics s = ring_->statistics();
  EXPECT_EQ(s.recordings, 3U);
  EXPECT_EQ(s.total_acquisitions, 12U);
  EXPECT_EQ(s.replays, 9U);
  EXPECT_EQ(s.reuse_rate, 0.75);
  EXPECT_EQ(s.ring_size, 3U);
  ring_->drop_recordings();
  step();
  EXPECT_EQ(ring_->statistics().recordings, 4U);
  ring_->reset_statistics();
  s = ring_->statistics();
  EXPECT_EQ(s.total_acquisitions, 0U);
  EXPECT_EQ(s.reuse_rate, 0.0);
}

TEST_F(CommandRingTest, RecordingsOfASlotAreToldApartByKey) {
  open(ring_of(2));
  const RingSlot slot = ring_->acquire();
  auto one = ring_->begin_recording(slot, 1, "one");
  auto two = ring_->begin_recording(slot, 2, "two");
  EXPECT_EQ(ring_->recording(slot, 1), one);
  EXPECT_EQ(ring_->recording(slot, 2), two);
  EXPECT_EQ(ring_->recording(slot, 3), nullptr);
  const RingSlot other = ring_->acquire();
  EXPECT_EQ(ring_->recording(other, 1), nullptr) << "each slot has its own";
}

TEST_F(CommandRingTest, TheRecordingUsedLongestAgoGivesWay) {
  CommandBufferRingConfig config = ring_of(2);
  config.max_recordings = 2;
  open(config);
  // Keys as slot 0 sees them; slot 1 always runs key 9.
  const auto run = [&](uint64_t key) {
    step({.key = key});
    step({.key = 9});
  };
  for (const uint64_t key : {1, 2, 1, 3}) run(key);  // 3 pushes 2 out, which 1 has outlived
  RingStatistics s = ring_->statistics();
  EXPECT_EQ(s.recordings, 4U);  // 1, 2, 3 and 9
  EXPECT_EQ(s.evictions, 1U);
  EXPECT_EQ(s.re_records, 0U);
  run(1);
  EXPECT_EQ(ring_->statistics().recordings, 4U) << "1 was kept";
  run(2);
  s = ring_->statistics();
  EXPECT_EQ(s.recordings, 5U);
  EXPECT_EQ(s.evictions, 2U);
  EXPECT_EQ(s.re_records, 1U) << "2 had been recorded before";
}

TEST_F(CommandRingTest, ManyBucketsStayWithinTheBound) {
  CommandBufferRingConfig config = ring_of(2);
  config.max_recordings = 3;
  open(config);
  for (uint64_t round = 0; round < 5; ++round) {
    for (uint64_t key = 0; key < 10; ++key) step({.key = key});
  }
  const RingStatistics s = ring_->statistics();
  EXPECT_EQ(s.recordings, 50U) << "each key comes when it has just gone";
  EXPECT_EQ(s.evictions, 44U) << "all but the first three of each slot";
  EXPECT_EQ(s.re_records, 40U) << "all but the first five of each slot";
  EXPECT_EQ(s.reuse_rate, 0.0);
}

TEST_F(CommandRingTest, DroppedRecordingsThatAreEncodedAgainAreCounted) {
  open(ring_of(2));
  for (int i = 0; i < 4; ++i) step();
  ring_->drop_recordings();
  for (int i = 0; i < 4; ++i) step();
  EXPECT_EQ(ring_->statistics().recordings, 4U);
  EXPECT_EQ(ring_->statistics().re_records, 2U);
  ring_->rebuild(device_->new_queue(QueueKind::kCompute));
  for (int i = 0; i < 4; ++i) step();
  EXPECT_EQ(ring_->statistics().re_records, 4U) << "a rebuild drops them too";
  EXPECT_EQ(ring_->statistics().evictions, 0U);
}

TEST_F(CommandRingTest, OccupancyCountsSlotsFoundInFlight) {
  open(ring_of(3), true);
  step();
  step();
  step();
  device_->step();
  step();
  const RingStatistics s = ring_->statistics();
  EXPECT_EQ(s.occupancy[0], 1U);
  EXPECT_EQ(s.occupancy[1], 1U);
  EXPECT_EQ(s.occupancy[2], 2U);
  EXPECT_EQ(s.occupancy[3], 0U);
}

TEST_F(CommandRingTest, AnAbandonedSlotIsNextAgain) {
  open(ring_of(3));
  step();
  for (int i = 0; i < 2; ++i) {
    const RingSlot slot = ring_->acquire();
    EXPECT_EQ(slot.index, 1U);
    ring_->abandon(slot);
    ring_->abandon(slot);  // void by now
  }
  uint32_t slot = 99;
  step(&slot);
  EXPECT_EQ(slot, 1U);
}

TEST_F(CommandRingTest, AHalfEncodedRecordingIsNotReplayed) {
  open(ring_of(2));
  const RingSlot slot = ring_->acquire();
  ring_->begin_recording(slot, kKey, "half")->fill(whole(*data_), 0xff);
  ring_->abandon(slot);  // the encoder threw
  const RingSlot again = ring_->acquire();
  EXPECT_EQ(again.index, slot.index);
  EXPECT_EQ(ring_->recording(again, kKey), nullptr);
  ring_->abandon(again);
  step();
  EXPECT_EQ(data_->contents()[0], std::byte{1});
  step();
  const RingSlot first = ring_->acquire();
  EXPECT_NE(ring_->recording(first, kKey), nullptr) << "what ran is kept";
  ring_->abandon(first);
}

TEST_F(CommandRingTest, AVoidSlotCannotBeUsed) {
  open(ring_of(2));
  const RingSlot slot = ring_->acquire();
  auto commands = ring_->begin_recording(slot, kKey, "step");
  ring_->rebuild(device_->new_queue(QueueKind::kCompute));
  EXPECT_THROW(ring_->recording(slot, kKey), DeviceError);
  EXPECT_THROW(ring_->begin_recording(slot, kKey, "step"), DeviceError);
  EXPECT_THROW(ring_->commit(slot, commands, {}, false, false), DeviceError);
  ring_->abandon(slot);  // does no harm
  const RingSlot other = ring_->acquire();
  EXPECT_EQ(other.index, 0U);
  EXPECT_THROW(ring_->commit(slot, commands, {}, false, false), DeviceError)
      << "somebody else has it now";
  ring_->abandon(slot);
  EXPECT_EQ(ring_->acquire().index, 1U) << "and keeps it";
}

TEST_F(CommandRingTest, AFailedStepIsReportedByItsSlotAndRebuildStartsAfresh) {
  open(ring_of(2));
  device_->inject(FakeFault::kExecution, 1);
  const TimelinePoint failed = step();
  EXPECT_THROW(failed.wait(kLongWait), DeviceError);
  EXPECT_THROW(
      {
        for (int i = 0; i < 2; ++i) step();
      },
      DeviceError);
  ring_->rebuild(device_->new_queue(QueueKind::kCompute));
  EXPECT_EQ(ring_->in_flight(), 0U);
  const uint64_t recorded = ring_->statistics().recordings;
  uint32_t slot = 99;
  EXPECT_EQ(step(&slot).wait(kLongWait), WaitResult::kReached);
  EXPECT_EQ(slot, 0U);
  EXPECT_EQ(ring_->statistics().recordings, recorded + 1) << "nothing of before is replayed";
  EXPECT_EQ(ring_->statistics().rebuilds, 1U);
  EXPECT_THROW(failed.wait(kLongWait), DeviceError) << "still";
}

TEST_F(CommandRingTest, AStepBehindAFailedOneDoesNotMakeItLookGood) {
  open(ring_of(2), true);
  device_->inject(FakeFault::kExecution, 1);
  const TimelinePoint failed = step();
  const TimelinePoint behind = step();
  device_->set_manual(false);
  EXPECT_THROW(failed.wait(kLongWait), DeviceError);
  EXPECT_THROW(behind.wait(kLongWait), DeviceError);
}

TEST_F(CommandRingTest, TimestampsOfEndedStepsAreTakenOnceAndInOrder) {
  open(ring_of(3));
  device_->set_duration("step", 500);
  for (int i = 0; i < 7; ++i) step();
  const std::vector<Timestamps> times = ring_->take_completed();
  ASSERT_EQ(times.size(), 7U);
  for (size_t i = 0; i < times.size(); ++i) {
    EXPECT_EQ(times[i].start_ns, 1000 + 500 * i);
    EXPECT_EQ(times[i].end_ns, 1500 + 500 * i);
  }
  EXPECT_TRUE(ring_->take_completed().empty());
  step();
  ring_->rebuild(device_->new_queue(QueueKind::kCompute));
  EXPECT_EQ(ring_->take_completed().size(), 1U) << "a rebuild loses no ended step";
}

TEST_F(CommandRingTest, WaitEventsAreLoggedOnDemand) {
  LogCapture log;
  CommandBufferRingConfig config = ring_of(2, 1);
  open(config, true);
  step();
  step();
  EXPECT_THROW(ring_->acquire(), TimeoutError);
  EXPECT_EQ(log.count("Waiting for command buffer completion..."), 0);
  config.log_wait_events = true;
  open(config, true);
  step();
  step();
  EXPECT_EQ(log.count("Waiting for command buffer completion..."), 0) << "nothing to wait for";
  EXPECT_THROW(ring_->acquire(), TimeoutError);
  EXPECT_EQ(log.count("[INFO] [command_ring.acquire] Waiting for command buffer completion... "
                      "slot 0 of 2, step 1, 2 in flight"),
            1);
  ring_->end_wait(ring_->begin_wait());
  EXPECT_EQ(log.count("Waiting for command buffer completion..."), 2) << "waits elsewhere too";
}

TEST_F(CommandRingTest, WithoutTrackStatisticsNothingIsCountedButErrors) {
  CommandBufferRingConfig config = ring_of(2, 1);
  config.track_statistics = false;
  open(config);
  for (int i = 0; i < 6; ++i) {
    step().wait(kLongWait);
    device_->advance_clock(1000);
  }
  EXPECT_EQ(ring_->take_completed().size(), 6U) << "still there for busy time and overlap";
  device_->set_manual(true);
  step();
  step();
  EXPECT_THROW(ring_->acquire(), TimeoutError);
  ring_->rebuild(device_->new_queue(QueueKind::kCompute));
  const RingStatistics s = ring_->statistics();
  EXPECT_TRUE(s.enabled);
  EXPECT_EQ(s.ring_size, 2U);
  EXPECT_EQ(s.timeouts, 1U);
  EXPECT_EQ(s.rebuilds, 1U);
  EXPECT_EQ(s.total_acquisitions + s.recordings + s.wait_events + s.gap_count, 0U);
  EXPECT_EQ(s.reuse_rate + s.max_wait_ms, 0.0);
  for (const uint64_t n : s.occupancy) EXPECT_EQ(n, 0U);
  for (const GapStatistics& gap : s.gaps) EXPECT_EQ(gap.count, 0U);
}

TEST_F(CommandRingTest, DescribesItsSlots) {
  open(ring_of(3), true);
  EXPECT_EQ(ring_->describe(), "slot 0: free; slot 1: free; slot 2: free");
  step();
  device_->advance_clock(31'000'000);
  const RingSlot slot = ring_->acquire();
  EXPECT_EQ(ring_->describe(),
            "slot 0: step 1 in flight for 31 ms; slot 1: being encoded; slot 2: free");
  ring_->abandon(slot);
}

TEST_F(CommandRingTest, ACommitThatIsRefusedLeavesNoHole) {
  open(ring_of(2));
  step();
  device_->inject(FakeFault::kCommit, 1);
  EXPECT_THROW(step(), DeviceError);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(step().wait(kLongWait), WaitResult::kReached);
  EXPECT_EQ(ring_->in_flight(), 0U);
}

}  // namespace
}  // namespace krserve::runtime
