#include "runtime/command_ring/command_ring.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "device/cpu/cpu_device.h"
#include "device/fake/fake_device.h"
#include "unit/runtime/log_capture.h"

namespace krserve::runtime {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kKey = 1;
constexpr std::chrono::seconds kLong{60};

CommandBufferRingConfig ring_of(int64_t size, int64_t timeout_ms = 0) {
  CommandBufferRingConfig config;
  config.enabled = true;
  config.ring_size = size;
  config.timeout_ms = timeout_ms;
  return config;
}

class CommandRingTest : public ::testing::Test {
 protected:
  void open(const CommandBufferRingConfig& config, bool manual = false) {
    FakeOptions options;
    options.manual = manual;
    device_ = std::make_shared<FakeDevice>(options);
    open_on(device_, config);
  }
  void open_on(const std::shared_ptr<Device>& device, const CommandBufferRingConfig& config) {
    ring_ = std::make_unique<CommandRing>(device, device->new_queue(QueueKind::kCompute), config);
    data_ = device->new_buffer(64, Storage::kShared);
  }

  // A step as the engine makes it: replays the slot's recording or makes one that fills the data
  // with the slot's number.
  TimelinePoint step(uint32_t* slot_used = nullptr, bool after_idle = false) {
    const uint32_t slot = ring_->acquire();
    if (slot_used) *slot_used = slot;
    try {
      auto commands = ring_->recording(slot, kKey);
      const bool replayed = commands != nullptr;
      if (!replayed) {
        commands = ring_->begin_recording(slot, kKey, "step");
        commands->fill(whole(*data_), static_cast<uint8_t>(slot + 1));
      }
      return ring_->commit(slot, commands, {}, replayed, after_idle);
    } catch (...) {
      ring_->abandon(slot);
      throw;
    }
  }

  std::shared_ptr<FakeDevice> device_;
  std::unique_ptr<Buffer> data_;
  std::unique_ptr<CommandRing> ring_;
};

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
  EXPECT_EQ(ring_->acquire(), 0U);
  stepper.join();
  EXPECT_EQ(ring_->in_flight(), 1U) << "only its own step had to end";
  const RingStatistics s = ring_->statistics();
  EXPECT_EQ(s.total_acquisitions, 3U);
  EXPECT_LE(s.wait_events, 1U) << "none if the step came first";
  EXPECT_EQ(s.timeouts, 0U);
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
  }
  EXPECT_EQ(ring_->statistics().total_acquisitions, 2U);
  device_->step();
  EXPECT_EQ(ring_->acquire(), 0U);
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
  EXPECT_EQ(s.reuse_rate, 0.75);
  EXPECT_EQ(s.ring_size, 3U);
  ring_->drop_recordings();
  EXPECT_EQ(ring_->recording(0, kKey), nullptr);
  step();
  EXPECT_EQ(ring_->statistics().recordings, 4U);
  ring_->reset_statistics();
  s = ring_->statistics();
  EXPECT_EQ(s.total_acquisitions, 0U);
  EXPECT_EQ(s.reuse_rate, 0.0);
}

TEST_F(CommandRingTest, RecordingsOfASlotAreToldApartByKey) {
  open(ring_of(2));
  const uint32_t slot = ring_->acquire();
  auto one = ring_->begin_recording(slot, 1, "one");
  auto two = ring_->begin_recording(slot, 2, "two");
  EXPECT_EQ(ring_->recording(slot, 1), one);
  EXPECT_EQ(ring_->recording(slot, 2), two);
  EXPECT_EQ(ring_->recording(slot, 3), nullptr);
  EXPECT_EQ(ring_->recording(1, 1), nullptr) << "each slot has its own";
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
  EXPECT_EQ(ring_->acquire(), 1U);
  ring_->abandon(1);
  EXPECT_EQ(ring_->acquire(), 1U);
  ring_->abandon(1);
  uint32_t slot = 99;
  step(&slot);
  EXPECT_EQ(slot, 1U);
}

TEST_F(CommandRingTest, AHalfEncodedRecordingIsNotReplayed) {
  open(ring_of(2));
  const uint32_t slot = ring_->acquire();
  ring_->begin_recording(slot, kKey, "half")->fill(whole(*data_), 0xff);
  ring_->abandon(slot);  // the encoder threw
  EXPECT_EQ(ring_->recording(slot, kKey), nullptr);
  step();
  EXPECT_EQ(data_->contents()[0], std::byte{1});
  ring_->acquire();
  ring_->abandon(1);
  EXPECT_NE(ring_->recording(0, kKey), nullptr) << "what ran is kept";
}

TEST_F(CommandRingTest, AFailedStepIsReportedByItsSlotAndRebuildStartsAfresh) {
  open(ring_of(2));
  device_->inject(FakeFault::kExecution, 1);
  const TimelinePoint failed = step();
  EXPECT_THROW(failed.wait(kLong), DeviceError);
  EXPECT_THROW(
      {
        for (int i = 0; i < 2; ++i) step();
      },
      DeviceError);
  ring_->rebuild(device_->new_queue(QueueKind::kCompute));
  EXPECT_EQ(ring_->in_flight(), 0U);
  EXPECT_EQ(ring_->recording(0, kKey), nullptr);
  uint32_t slot = 99;
  EXPECT_EQ(step(&slot).wait(kLong), WaitResult::kReached);
  EXPECT_EQ(slot, 0U);
  EXPECT_EQ(ring_->statistics().rebuilds, 1U);
  EXPECT_THROW(failed.wait(kLong), DeviceError) << "still";
}

TEST_F(CommandRingTest, AStepBehindAFailedOneDoesNotMakeItLookGood) {
  open(ring_of(2), true);
  device_->inject(FakeFault::kExecution, 1);
  const TimelinePoint failed = step();
  const TimelinePoint behind = step();
  device_->set_manual(false);
  EXPECT_THROW(failed.wait(kLong), DeviceError);
  EXPECT_THROW(behind.wait(kLong), DeviceError);
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

TEST_F(CommandRingTest, GapsAreTheDevicesIdleTimeBetweenSteps) {
  open(ring_of(2));
  for (int i = 0; i < 3; ++i) step();  // back to back
  ring_->take_completed();
  RingStatistics s = ring_->statistics();
  EXPECT_EQ(s.gap_count, 2U);
  EXPECT_EQ(s.gap_p50_us, 0.0);
  EXPECT_EQ(s.gap_p99_us, 0.0);
  step().wait(kLong);  // the clock is at its end now
  device_->advance_clock(5000);
  step().wait(kLong);
  device_->advance_clock(100'000'000);
  step(nullptr, true).wait(kLong);  // there was no work: no gap
  ring_->take_completed();
  s = ring_->statistics();
  EXPECT_EQ(s.gap_count, 4U);
  EXPECT_EQ(s.gap_p50_us, 0.0);
  ring_->reset_statistics();
  for (int i = 0; i < 2; ++i) step().wait(kLong);
  device_->advance_clock(7000);
  step().wait(kLong);
  ring_->take_completed();
  s = ring_->statistics();
  EXPECT_EQ(s.gap_count, 2U);
}

TEST_F(CommandRingTest, OneGapIsExact) {
  open(ring_of(2));
  step().wait(kLong);
  device_->advance_clock(5000);
  step().wait(kLong);
  ring_->take_completed();
  EXPECT_EQ(ring_->statistics().gap_p50_us, 5.0);
  EXPECT_EQ(ring_->statistics().gap_p99_us, 5.0);
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
  EXPECT_EQ(log.count("Waiting for command buffer completion..."), 1);
}

TEST_F(CommandRingTest, ACommitThatIsRefusedLeavesNoHole) {
  open(ring_of(2));
  step();
  device_->inject(FakeFault::kCommit, 1);
  EXPECT_THROW(step(), DeviceError);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(step().wait(kLong), WaitResult::kReached);
  EXPECT_EQ(ring_->in_flight(), 0U);
}

// Any fault, at any slot of any ring, at first use or at a replay: rebuilt, the ring works.
TEST_F(CommandRingTest, WorksAgainAfterEveryFaultAtEverySlot) {
  for (const FakeFault fault :
       {FakeFault::kCommit, FakeFault::kExecution, FakeFault::kHang, FakeFault::kLostCompletion}) {
    for (const int64_t size : {2, 3, 4, 8}) {
      for (uint64_t nth = 1; nth <= 2 * static_cast<uint64_t>(size); ++nth) {
        SCOPED_TRACE(testing::Message() << "fault " << static_cast<int>(fault) << ", size " << size
                                        << ", step " << nth);
        open(ring_of(size, 1));
        device_->inject(fault, nth);
        bool failed = false;
        try {
          TimelinePoint last;
          for (uint64_t i = 0; i < nth; ++i) last = step();
          if (last.wait(std::chrono::milliseconds(1)) == WaitResult::kTimeout) {
            throw TimeoutError("test.wait", "the step did not end");
          }
        } catch (const DeviceError&) {
          failed = true;
        } catch (const TimeoutError&) {
          failed = true;
        }
        EXPECT_TRUE(failed);
        ring_->rebuild(device_->new_queue(QueueKind::kCompute));
        for (uint32_t i = 0; i < 3 * ring_->size(); ++i) {
          uint32_t slot = 99;
          EXPECT_EQ(step(&slot).wait(kLong), WaitResult::kReached);
          EXPECT_EQ(slot, i % ring_->size());
          EXPECT_EQ(data_->contents()[63], std::byte(slot + 1));
        }
      }
    }
  }
}

// Steps run at full depth on a real asynchronous device while another thread reads the counters.
TEST_F(CommandRingTest, RunsAtFullDepthOnTheCpuWhileStatisticsAreRead) {
  auto device = make_cpu_device({.threads = 2, .simd_level = {}, .spin_us = 10});
  open_on(device, ring_of(3));
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    while (!stop) {
      const RingStatistics s = ring_->statistics();
      EXPECT_LE(s.reuse_rate, 1.0);
    }
  });
  TimelinePoint last;
  size_t ended = 0;
  for (int i = 0; i < 500; ++i) {
    last = step();
    if (i % 7 == 0) ended += ring_->take_completed().size();
  }
  EXPECT_EQ(last.wait(kLong), WaitResult::kReached);
  ended += ring_->take_completed().size();
  stop = true;
  reader.join();
  EXPECT_EQ(ended, 500U);
  EXPECT_EQ(ring_->statistics().gap_count, 499U);
  EXPECT_EQ(ring_->statistics().recordings, 3U);
}

}  // namespace
}  // namespace krserve::runtime
