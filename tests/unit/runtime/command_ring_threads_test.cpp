// Many threads on one ring: slots are held by one at a time, nothing is lost, errors stay theirs.
#include <atomic>
#include <thread>

#include "device/cpu/cpu_device.h"
#include "runtime/command_ring/command_ring.h"
#include "unit/runtime/command_ring_fixture.h"

namespace krserve::runtime {
namespace {

constexpr int kThreads = 8;

class RingThreads : public RingFixture {
 protected:
  static void together(const std::function<void(int)>& body) {
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) threads.emplace_back(body, t);
    for (std::thread& thread : threads) thread.join();
  }

  // Every thread steps `count` times with keys of its own choice and checks that nobody else has
  // its slot meanwhile.
  uint64_t stress(int count) {
    std::vector<std::atomic<int>> owners(ring_->size());
    std::atomic<uint64_t> done{0};
    together([&](int thread) {
      for (int i = 0; i < count; ++i) {
        const RingSlot slot = ring_->acquire();
        EXPECT_EQ(owners[slot.index].fetch_add(1), 0) << "two callers have slot " << slot.index;
        const uint64_t key = static_cast<uint64_t>(thread + i) % 3;
        auto commands = ring_->recording(slot, key);
        const bool replayed = commands != nullptr;
        if (!replayed) {
          commands = ring_->begin_recording(slot, key, "step");
          commands->fill(whole(*data_), static_cast<uint8_t>(key));
        }
        owners[slot.index].fetch_sub(1);
        if (i % 5 == 4) {
          ring_->abandon(slot);
          continue;
        }
        const TimelinePoint end = ring_->commit(slot, commands, {}, replayed, false);
        if (i % 3 == 0) {
          EXPECT_EQ(end.wait(kLongWait), WaitResult::kReached);
        }
        if (i % 7 == 0) ended_ += ring_->take_completed().size();
        if (i % 11 == 0) {
          EXPECT_LE(ring_->statistics().reuse_rate, 1.0);
        }
        ++done;
      }
    });
    return done;
  }
  void expect_all_ended(uint64_t steps) {
    for (uint32_t i = 0; i < ring_->size(); ++i) step().wait(kLongWait);
    ended_ += ring_->take_completed().size();
    EXPECT_EQ(ended_, steps + ring_->size());
    EXPECT_EQ(ring_->in_flight(), 0U);
    EXPECT_EQ(ring_->statistics().gap_count, ended_ - 1);
  }

  std::atomic<uint64_t> ended_{0};
};

TEST_F(RingThreads, ShareARingOnTheFakeDevice) {
  for (const int64_t size : {2, 3, 8}) {
    open(ring_of(size));
    ended_ = 0;
    const uint64_t steps = stress(100);
    EXPECT_EQ(steps, kThreads * 80U);
    expect_all_ended(steps);
    EXPECT_EQ(ring_->statistics().total_acquisitions, kThreads * 100U + ring_->size());
  }
}

TEST_F(RingThreads, ShareARingOnTheCpu) {
  auto device = make_cpu_device({.threads = 2, .simd_level = {}, .spin_us = 10});
  open_on(device, ring_of(3));
  const uint64_t steps = stress(200);
  EXPECT_EQ(steps, kThreads * 160U);
  expect_all_ended(steps);
}

// The n-th commit is refused, whoever makes it: that caller alone sees it, and all others' steps
// end.
TEST_F(RingThreads, EveryRefusedCommitIsSeenByOneCaller) {
  for (uint64_t nth = 1; nth <= 24; ++nth) {
    open(ring_of(2 + static_cast<int64_t>(nth % 3)));
    device_->inject(FakeFault::kCommit, nth);
    std::atomic<int> refused{0};
    std::atomic<int> reached{0};
    together([&](int) {
      for (int i = 0; i < 3; ++i) {
        try {
          if (step().wait(kLongWait) == WaitResult::kReached) ++reached;
        } catch (const DeviceError&) {
          ++refused;
        }
      }
    });
    EXPECT_EQ(refused, 1) << nth;
    EXPECT_EQ(reached, kThreads * 3 - 1) << nth;
    EXPECT_EQ(ring_->in_flight(), 0U);
  }
}

// A failed step poisons those behind it. Whoever sees it first rebuilds; the others' slots are void
// and they try again. In the end every thread has had its steps.
TEST_F(RingThreads, GoOnAfterEveryFailedStep) {
  for (uint64_t nth = 1; nth <= 24; ++nth) {
    open(ring_of(3));
    device_->inject(FakeFault::kExecution, nth);
    std::mutex rebuilding;
    std::atomic<uint64_t> generation{0};
    std::atomic<int> reached{0};
    together([&](int) {
      for (int done = 0; done < 3;) {
        const uint64_t seen = generation.load();
        try {
          step().wait(kLongWait);
          ++done;
          ++reached;
        } catch (const DeviceError&) {
          const std::lock_guard lock(rebuilding);
          if (generation != seen) continue;
          ring_->rebuild(device_->new_queue(QueueKind::kCompute));
          ++generation;
        }
      }
    });
    EXPECT_EQ(reached, kThreads * 3);
    EXPECT_GE(ring_->statistics().rebuilds, 1U);
    EXPECT_EQ(step().wait(kLongWait), WaitResult::kReached);
  }
}

// More callers than slots, and one of them does not commit: the others give up after timeout_ms.
TEST_F(RingThreads, ACallerThatKeepsItsSlotTimesOutTheOthers) {
  open(ring_of(2, 20));
  const RingSlot first = ring_->acquire();
  const RingSlot second = ring_->acquire();
  try {
    ring_->acquire();
    FAIL() << "acquired";
  } catch (const TimeoutError& error) {
    EXPECT_THAT(error.what(), ::testing::HasSubstr("acquired by another caller"));
  }
  EXPECT_EQ(ring_->statistics().timeouts, 1U);
  ring_->abandon(second);
  ring_->abandon(first);
  EXPECT_EQ(step().wait(kLongWait), WaitResult::kReached);
}

// Steps run at full depth on a real asynchronous device while another thread reads the counters.
TEST_F(RingThreads, RunsAtFullDepthOnTheCpuWhileStatisticsAreRead) {
  auto device = make_cpu_device({.threads = 2, .simd_level = {}, .spin_us = 10});
  open_on(device, ring_of(3));
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    while (!stop) {
      EXPECT_LE(ring_->statistics().reuse_rate, 1.0);
      EXPECT_NE(ring_->describe(), "");
    }
  });
  TimelinePoint last;
  size_t ended = 0;
  for (int i = 0; i < 500; ++i) {
    last = step();
    if (i % 7 == 0) ended += ring_->take_completed().size();
  }
  EXPECT_EQ(last.wait(kLongWait), WaitResult::kReached);
  ended += ring_->take_completed().size();
  stop = true;
  reader.join();
  EXPECT_EQ(ended, 500U);
  EXPECT_EQ(ring_->statistics().gap_count, 499U);
  EXPECT_EQ(ring_->statistics().recordings, 3U);
}

}  // namespace
}  // namespace krserve::runtime
