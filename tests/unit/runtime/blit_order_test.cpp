// Who goes first, what goes together, and what is staged meanwhile: constructed on the fake device.
#include <atomic>
#include <cstring>
#include <thread>

#include "unit/runtime/blit_fixture.h"

namespace krserve::runtime {
namespace {

constexpr uint64_t kPiece = 128 << 10;  // a quarter of a direction's staging memory

class BlitOrder : public FakeBlit {
 protected:
  void SetUp() override { open(false, true); }

  uint64_t stalls(BlitStall cause) const {
    return blit_->statistics().stalls[static_cast<size_t>(cause)];
  }
  uint64_t commits() const { return device_->count_calls("commit"); }
  template <class Condition>
  static void wait_until(Condition condition) {
    while (!condition()) std::this_thread::yield();
  }
  void finish(std::thread& thread) {
    std::atomic<bool> over{false};
    std::thread stepper([&] {
      while (!over) {
        if (!device_->step()) std::this_thread::yield();
      }
    });
    thread.join();
    over = true;
    stepper.join();
    run_all();
  }
};

TEST_F(BlitOrder, TheNextPiecesAreStagedWhileTheFormerIsNotYetCopied) {
  const Bytes in = pattern(8 * kPiece);
  std::atomic<uint64_t> filled{0};
  std::thread uploader([&] {
    blit_->upload_from(view(in.size()), in.size(), [&](std::byte* out, uint64_t at, uint64_t n) {
      EXPECT_EQ(at, filled * kPiece);
      std::memcpy(out, in.data() + at, n);
      ++filled;
    });
  });
  wait_until([&] { return stalls(BlitStall::kPendingLimit) == 1; });
  EXPECT_EQ(filled, 3U);
  EXPECT_EQ(commits(), 3U);
  EXPECT_EQ(contents(in.size()), Bytes(in.size(), 0)) << "the device has copied none of them";
  EXPECT_TRUE(device_->step());
  wait_until([&] { return commits() == 4; });
  EXPECT_EQ(contents(kPiece), Bytes(in.begin(), in.begin() + kPiece));
  EXPECT_EQ(contents(kPiece, kPiece), Bytes(kPiece, 0));
  finish(uploader);
  EXPECT_EQ(blit_->wait_all(kLong), WaitResult::kReached);
  EXPECT_EQ(contents(in.size()), in);
}

TEST_F(BlitOrder, AStepUploadPassesBetweenTwoPiecesOfWeights) {
  const Bytes weights = pattern(8 * kPiece, 1);
  const Bytes params = pattern(100, 2);
  std::thread loader([&] {
    blit_->upload(view(weights.size()), weights.data(), weights.size(), {}, BlitPriority::kWeights);
  });
  wait_until([&] { return stalls(BlitStall::kPendingLimit) == 1; });
  // There is room for it though the weights wait for room.
  const BlitId id = blit_->upload(view(100, 2 * kMiB), params.data(), 100);
  const TimelinePoint uploaded = blit_->completion(id);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(device_->step());
  EXPECT_FALSE(uploaded.reached()) << "behind the pieces that were queued before";
  EXPECT_TRUE(device_->step());
  EXPECT_TRUE(uploaded.reached());
  EXPECT_EQ(contents(100, 2 * kMiB), params);
  EXPECT_EQ(contents(kPiece, 7 * kPiece), Bytes(kPiece, 0)) << "the weights are on their way";
  finish(loader);
  EXPECT_EQ(contents(weights.size()), weights);
}

TEST_F(BlitOrder, TheMostUrgentOfThoseThatWaitGoesFirst) {
  BlitQueueConfig config = blit_config();
  config.max_pending_ops = 1;
  open(false, true, config);
  const Bytes in = pattern(3 * kPiece);
  std::vector<BlitPriority> order;
  const auto upload = [&](BlitPriority priority, uint64_t offset, uint64_t stalled) {
    std::thread thread([this, &in, &order, priority, offset] {
      blit_->upload_from(
          view(20000, offset), 20000,
          [&](std::byte* out, uint64_t, uint64_t n) {
            order.push_back(priority);  // one at a time: there is one slot
            std::memcpy(out, in.data(), n);
          },
          {}, priority);
    });
    wait_until([&] { return blit_->statistics().stall_count == stalled; });
    return thread;
  };
  blit_->upload(view(20000), in.data(), 20000);
  std::thread weights = upload(BlitPriority::kWeights, 100000, 1);
  std::thread kv = upload(BlitPriority::kKv, 200000, 2);
  std::thread step = upload(BlitPriority::kStep, 300000, 3);
  finish(step);
  finish(kv);
  finish(weights);
  EXPECT_EQ(order, (std::vector<BlitPriority>{BlitPriority::kStep, BlitPriority::kKv,
                                              BlitPriority::kWeights}));
}

TEST_F(BlitOrder, AStepUploadDoesNotFailWithTheWeightsItWaitsBehind) {
  BlitQueueConfig config = blit_config();
  config.max_pending_ops = 1;
  open(false, true, config);
  const Bytes in = pattern(20000);
  device_->inject(FakeFault::kExecution, 1, QueueKind::kCopyToDevice);
  const BlitId bad = blit_->upload(view(20000), in.data(), 20000, {}, BlitPriority::kWeights);
  BlitId good = 0;
  std::thread step([&] { good = blit_->upload(view(20000, 50000), in.data(), 20000); });
  wait_until([&] { return stalls(BlitStall::kPendingLimit) == 1; });
  finish(step);
  EXPECT_EQ(blit_->wait(good, kLong), WaitResult::kReached);
  EXPECT_THROW(blit_->wait(bad, kLong), DeviceError);
  EXPECT_EQ(contents(20000, 50000), in);
  EXPECT_EQ(blit_->statistics().failed_count, 1U);
}

TEST_F(BlitOrder, DirectionsDoNotWaitForEachOther) {
  auto never = device_->new_timeline();
  const Bytes in = pattern(100);
  set_contents(in);
  Bytes out(100);
  blit_->upload(view(100, 1000), in.data(), 100, {never, 1});
  const BlitId down = blit_->download(out.data(), view(100), 100);
  run_all();
  EXPECT_EQ(blit_->wait(down, kLong), WaitResult::kReached);
  EXPECT_EQ(out, in);
}

class BlitCoalescing : public BlitOrder {
 protected:
  // While it is pending, small uploads wait for company.
  void make_busy() {
    const Bytes in = pattern(100);
    blit_->upload(view(100, 3 * kMiB), in.data(), 100);
    ASSERT_EQ(commits(), 1U);
  }
};

TEST_F(BlitCoalescing, SmallAdjacentUploadsAreOneCopy) {
  make_busy();
  const Bytes in = pattern(20 * 64);
  std::vector<BlitId> ids;
  for (uint64_t i = 0; i < 20; ++i) {
    ids.push_back(blit_->upload(view(64, i * 64), in.data() + i * 64, 64));
  }
  EXPECT_EQ(commits(), 1U) << "nobody has asked for them yet";
  EXPECT_FALSE(blit_->completion(ids.front()).reached());
  EXPECT_EQ(commits(), 2U);
  run_all();
  for (const BlitId id : ids) EXPECT_EQ(blit_->wait(id, kLong), WaitResult::kReached);
  EXPECT_EQ(contents(in.size()), in);
  const BlitStatistics s = blit_->statistics();
  EXPECT_EQ(s.coalesced_count, 19U);
  EXPECT_EQ(s.total_uploads, 21U);
  EXPECT_EQ(s.upload_bytes, 100U + 20 * 64);
  EXPECT_EQ(s.queue_depth, 0U);
}

TEST_F(BlitCoalescing, AnIdleQueueStartsAtOnce) {
  const Bytes in = pattern(128);
  blit_->upload(view(64), in.data(), 64);
  EXPECT_EQ(commits(), 1U);
  run_all();
  blit_->upload(view(64, 64), in.data() + 64, 64);
  EXPECT_EQ(commits(), 2U);
  EXPECT_EQ(blit_->statistics().coalesced_count, 0U);
}

TEST_F(BlitCoalescing, OnlyWhatIsAdjacentAndOfOneKindGoesTogether) {
  struct Second {
    uint64_t offset;
    uint64_t bytes;
    BlitPriority priority;
    uint64_t joined;
  };
  for (const Second& second : {Second{1100, 50, BlitPriority::kStep, 1},
                               Second{1200, 50, BlitPriority::kStep, 0},        // a hole
                               Second{950, 50, BlitPriority::kStep, 0},         // before it
                               Second{1050, 50, BlitPriority::kStep, 0},        // over it
                               Second{1100, 50, BlitPriority::kKv, 0},          // less urgent
                               Second{1100, 20000, BlitPriority::kStep, 0}}) {  // large
    open(false, true);
    make_busy();
    const Bytes in = pattern(30000);
    blit_->upload(view(100, 1000), in.data() + 1000, 100);
    const BlitId id = blit_->upload(view(second.bytes, second.offset), in.data() + second.offset,
                                    second.bytes, {}, second.priority);
    EXPECT_EQ(blit_->statistics().coalesced_count, second.joined);
    EXPECT_FALSE(blit_->completion(id).reached());
    EXPECT_EQ(commits(), 3 - second.joined);
    run_all();
    EXPECT_EQ(blit_->wait_all(kLong), WaitResult::kReached);
    EXPECT_EQ(contents(second.bytes, second.offset),
              Bytes(in.begin() + second.offset, in.begin() + second.offset + second.bytes));
  }
}

TEST_F(BlitCoalescing, WhatHasToWaitGoesAlone) {
  make_busy();
  auto gate = device_->new_timeline();
  const Bytes in = pattern(200);
  blit_->upload(view(100), in.data(), 100);
  blit_->upload(view(100, 100), in.data() + 100, 100, {gate, 1});
  EXPECT_EQ(blit_->statistics().coalesced_count, 0U);
  EXPECT_EQ(commits(), 3U);
  gate->signal(1);
  run_all();
  EXPECT_EQ(blit_->wait_all(kLong), WaitResult::kReached);
  EXPECT_EQ(contents(200), in);
}

// Two uploads to one place, the first still waiting for company.
TEST_F(BlitCoalescing, ALaterUploadToTheSamePlaceWins) {
  for (const bool unified : {false, true}) {
    open(unified, true);
    auto gate = device_->new_timeline();
    const Bytes old = pattern(64, 1);
    const Bytes last = pattern(64, 2);
    blit_->upload(view(64, 3 * kMiB), old.data(), 64, {gate, 1});
    gate->signal(1);
    blit_->upload(view(64), old.data(), 64);
    blit_->upload(view(64), last.data(), 64);
    run_all();
    EXPECT_EQ(blit_->wait_all(kShort), unified ? WaitResult::kReached : WaitResult::kTimeout);
    run_all();
    EXPECT_EQ(blit_->wait_all(kLong), WaitResult::kReached);
    EXPECT_EQ(contents(64), last);
  }
}

TEST_F(BlitCoalescing, ABatchThatIsRefusedFailsForAllInItAndNobodyElse) {
  make_busy();
  const Bytes in = pattern(300);
  const BlitId a = blit_->upload(view(100), in.data(), 100);
  const BlitId b = blit_->upload(view(100, 100), in.data() + 100, 100);
  device_->inject(FakeFault::kCommit, 1, QueueKind::kCopyToDevice);
  const BlitId c = blit_->upload(view(20000, 1000), pattern(20000).data(), 20000);
  run_all();
  EXPECT_THROW(blit_->wait(a, kLong), DeviceError);
  EXPECT_THROW(blit_->completion(b).wait(kLong), DeviceError);
  EXPECT_EQ(blit_->wait(c, kLong), WaitResult::kReached);
  EXPECT_EQ(contents(200), Bytes(200, 0));
  EXPECT_EQ(contents(20000, 1000), pattern(20000));
  EXPECT_EQ(blit_->statistics().queue_depth, 0U);
}

TEST_F(BlitCoalescing, ABatchNobodyAskedForIsCopiedBeforeTheEnd) {
  make_busy();
  const Bytes in = pattern(100);
  blit_->upload(view(100), in.data(), 100);
  std::thread closer([&] { blit_.reset(); });
  wait_until([&] { return commits() == 2; });
  run_all();
  closer.join();
}

}  // namespace
}  // namespace krserve::runtime
