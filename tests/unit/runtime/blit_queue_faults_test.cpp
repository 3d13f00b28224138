#include <thread>

#include "unit/runtime/blit_fixture.h"

namespace krserve::runtime {
namespace {

using ::testing::HasSubstr;

class BlitFaults : public FakeBlit {
 protected:
  void SetUp() override { open(false); }

  void expect_works(uint32_t seed) {
    // Three times what the staging memory holds, both ways.
    const Bytes in = pattern(1536 << 10, seed);
    Bytes out(in.size());
    EXPECT_EQ(blit_->wait(blit_->upload(view(in.size()), in.data(), in.size()), kLong),
              WaitResult::kReached);
    EXPECT_EQ(blit_->wait(blit_->download(out.data(), view(in.size()), in.size()), kLong),
              WaitResult::kReached);
    EXPECT_EQ(out, in);
    EXPECT_EQ(blit_->wait_all(kLong), WaitResult::kReached);
  }
};

TEST_F(BlitFaults, AFailedTransferThrowsAtItsWaitAndTheNextWorks) {
  for (const QueueKind kind : {QueueKind::kCopyToDevice, QueueKind::kCopyToHost}) {
    Bytes host(100);
    device_->inject(FakeFault::kExecution, 1, kind);
    const BlitId id = kind == QueueKind::kCopyToDevice
                          ? blit_->upload(view(100), host.data(), 100)
                          : blit_->download(host.data(), view(100), 100);
    try {
      blit_->wait(id, kLong);
      FAIL() << "reached";
    } catch (const DeviceError& error) {
      EXPECT_THAT(error.what(), HasSubstr("injected fault"));
    }
    expect_works(1);
    EXPECT_THROW(blit_->wait(id, kLong), DeviceError) << "still";
    EXPECT_THROW(blit_->completion(id).wait(kLong), DeviceError);
  }
}

TEST_F(BlitFaults, AFailureStaysAFailureThroughLaterOnes) {
  const Bytes host = pattern(100);
  std::vector<BlitId> good;
  std::vector<BlitId> bad;
  for (int i = 0; i < 5; ++i) {
    good.push_back(blit_->upload(view(100), host.data(), 100));
    device_->inject(FakeFault::kExecution, 1, QueueKind::kCopyToDevice);
    bad.push_back(blit_->upload(view(100), host.data(), 100));
  }
  good.push_back(blit_->upload(view(100), host.data(), 100));
  for (const BlitId id : good) EXPECT_EQ(blit_->wait(id, kLong), WaitResult::kReached);
  for (const BlitId id : bad) EXPECT_THROW(blit_->wait(id, kLong), DeviceError);
}

TEST_F(BlitFaults, ARefusedCommitThrowsAndLeavesNoHole) {
  const Bytes host = pattern(100);
  for (uint64_t i = 0; i < 20; ++i) {
    device_->inject(FakeFault::kCommit, 1, QueueKind::kCopyToDevice);
    EXPECT_THROW(blit_->upload(view(100), host.data(), 100), DeviceError);
    EXPECT_EQ(blit_->wait_all(kLong), WaitResult::kReached) << "there is nothing to wait for";
  }
  EXPECT_EQ(blit_->statistics().total_uploads, 0U);
  EXPECT_EQ(blit_->statistics().queue_depth, 0U);
  expect_works(2);
}

TEST_F(BlitFaults, EveryCommitOfALongTransferMayBeRefused) {
  const size_t bytes = 900 << 10;  // eight pieces
  for (uint64_t nth = 1; nth <= 8; ++nth) {
    Bytes host(bytes);
    device_->inject(FakeFault::kCommit, nth, QueueKind::kCopyToDevice);
    EXPECT_THROW(blit_->upload(view(bytes), host.data(), bytes), DeviceError);
    device_->inject(FakeFault::kCommit, nth, QueueKind::kCopyToHost);
    EXPECT_THROW(blit_->download(host.data(), view(bytes), bytes), DeviceError);
    expect_works(static_cast<uint32_t>(nth));
  }
}

TEST_F(BlitFaults, EveryPieceOfALongTransferMayFail) {
  const size_t bytes = 900 << 10;
  for (uint64_t nth = 1; nth <= 8; ++nth) {
    Bytes host(bytes);
    device_->inject(FakeFault::kExecution, nth, QueueKind::kCopyToDevice);
    EXPECT_THROW(blit_->wait(blit_->upload(view(bytes), host.data(), bytes), kLong), DeviceError);
    device_->inject(FakeFault::kExecution, nth, QueueKind::kCopyToHost);
    EXPECT_THROW(blit_->wait(blit_->download(host.data(), view(bytes), bytes), kLong), DeviceError);
    expect_works(static_cast<uint32_t>(nth));
  }
}

// The caller's memory may be gone when download() has thrown.
TEST_F(BlitFaults, ARefusedDownloadIsNotWrittenLater) {
  open(false, true);
  set_contents(pattern(300 << 10));
  Bytes host(300 << 10, 0);
  device_->inject(FakeFault::kCommit, 3, QueueKind::kCopyToHost);
  EXPECT_THROW(blit_->download(host.data(), view(host.size()), host.size()), DeviceError);
  run_all();  // two pieces had been committed
  EXPECT_EQ(blit_->wait_all(kLong), WaitResult::kReached);
  EXPECT_EQ(host, Bytes(host.size(), 0));
}

// Staging memory is used again after an error: what is left in the queue must not read it then.
TEST_F(BlitFaults, WhatAFailureLeftBehindDoesNotRunLate) {
  open(false, true);
  auto gate = device_->new_timeline();
  const Bytes a = pattern(100, 1);
  const Bytes b = pattern(100, 2);
  const Bytes c = pattern(100, 3);
  device_->inject(FakeFault::kExecution, 1, QueueKind::kCopyToDevice);
  const BlitId failed = blit_->upload(view(100), a.data(), 100);
  const BlitId behind = blit_->upload(view(100, 1000), b.data(), 100, {gate, 1});
  EXPECT_TRUE(device_->step());
  const BlitId next = blit_->upload(view(100, 2000), c.data(), 100);
  gate->signal(1);
  run_all();
  EXPECT_EQ(blit_->wait(next, kLong), WaitResult::kReached);
  EXPECT_THROW(blit_->wait(failed, kLong), DeviceError);
  EXPECT_THROW(blit_->wait(behind, kLong), DeviceError);
  EXPECT_EQ(contents(100), Bytes(100, 0));
  EXPECT_EQ(contents(100, 1000), Bytes(100, 0));
  EXPECT_EQ(contents(100, 2000), c);
}

TEST_F(BlitFaults, AFailureUnderBackPressureReachesTheTransferThatWaits) {
  BlitQueueConfig config = blit_config();
  config.max_pending_ops = 1;
  open(false, true, config);
  device_->inject(FakeFault::kExecution, 1, QueueKind::kCopyToDevice);
  const Bytes in = pattern(300 << 10);
  std::thread uploader(
      [&] { EXPECT_THROW(blit_->upload(view(in.size()), in.data(), in.size()), DeviceError); });
  while (!device_->step()) std::this_thread::yield();
  uploader.join();
  device_->set_manual(false);
  expect_works(4);
}

TEST_F(BlitFaults, APoisonedPointFailsTheTransferWithItsError) {
  for (const bool unified : {false, true}) {
    for (const bool shared_events : {true, false}) {
      BlitQueueConfig config = blit_config();
      config.use_shared_events = shared_events;
      open(unified, false, config);
      auto broken = device_->new_timeline();
      broken->poison("step 12 failed");
      Bytes host(100);
      const auto message_of = [](const auto& transfer) -> std::string {
        try {
          transfer();
        } catch (const DeviceError& error) {
          return error.what();
        }
        return "no error";
      };
      EXPECT_THAT(message_of([&] {
                    blit_->wait(blit_->download(host.data(), view(100), 100, {broken, 1}), kLong);
                  }),
                  HasSubstr("step 12 failed"));
      EXPECT_THAT(message_of([&] {
                    blit_->wait(blit_->upload(view(100), host.data(), 100, {broken, 1}), kLong);
                  }),
                  HasSubstr("step 12 failed"));
      expect_works(5);
    }
  }
}

TEST_F(BlitFaults, AHungTransferTimesOutAndGoesOnWhenItIsReleased) {
  device_->inject(FakeFault::kHang, 1, QueueKind::kCopyToHost);
  set_contents(pattern(100));
  Bytes out(100, 0);
  const BlitId id = blit_->download(out.data(), view(100), 100);
  EXPECT_EQ(blit_->wait(id, kShort), WaitResult::kTimeout);
  device_->release_hangs();
  EXPECT_EQ(blit_->wait(id, kLong), WaitResult::kReached);
  EXPECT_EQ(out, pattern(100));
}

TEST_F(BlitFaults, ALostCompletionIsMadeGoodByTheNextTransfer) {
  device_->inject(FakeFault::kLostCompletion, 1, QueueKind::kCopyToDevice);
  const Bytes in = pattern(100);
  const BlitId lost = blit_->upload(view(100), in.data(), 100);
  EXPECT_EQ(blit_->wait(lost, kShort), WaitResult::kTimeout);
  blit_->wait(blit_->upload(view(100, 100), in.data(), 100), kLong);
  EXPECT_EQ(blit_->wait(lost, kShort), WaitResult::kReached) << "it did run, and before the next";
  EXPECT_EQ(contents(100), in);
}

TEST_F(BlitFaults, StagingMemoryThatCannotBeHadIsAskedForAgain) {
  const Bytes in = pattern(100);
  device_->inject(FakeFault::kAllocation, 1);
  EXPECT_THROW(blit_->upload(view(100), in.data(), 100), OutOfMemoryError);
  EXPECT_EQ(blit_->wait_all(kLong), WaitResult::kReached);
  expect_works(6);
}

}  // namespace
}  // namespace krserve::runtime
