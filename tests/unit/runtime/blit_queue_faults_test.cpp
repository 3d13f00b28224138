#include <thread>

#include "unit/runtime/blit_fixture.h"

namespace krserve::runtime {
namespace {

using ::testing::HasSubstr;

BlitQueueConfig config_with(bool shared_events) {
  BlitQueueConfig config = blit_config();
  config.use_shared_events = shared_events;
  return config;
}

// With and without shared events.
class BlitFaults : public FakeBlit, public ::testing::WithParamInterface<bool> {
 protected:
  void SetUp() override { open(false, false, config_with(GetParam())); }

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

// The device waits for a gate. With polling the host would, and there is nothing behind the gate.
class BlitFaultsBehindAGate : public BlitFaults {};

TEST_P(BlitFaults, AFailedTransferThrowsAtItsWaitAndTheNextWorks) {
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

TEST_P(BlitFaults, AFailureStaysAFailureThroughLaterOnes) {
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

TEST_P(BlitFaults, ARefusedCommitThrowsAndLeavesNoHole) {
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

TEST_P(BlitFaults, EveryCommitOfALongTransferMayBeRefused) {
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

TEST_P(BlitFaults, EveryPieceOfALongTransferMayFail) {
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
TEST_P(BlitFaults, ARefusedDownloadIsNotWrittenLater) {
  open(false, true, config_with(GetParam()));
  set_contents(pattern(300 << 10));
  Bytes host(300 << 10, 0);
  device_->inject(FakeFault::kCommit, 3, QueueKind::kCopyToHost);
  EXPECT_THROW(blit_->download(host.data(), view(host.size()), host.size()), DeviceError);
  run_all();  // two pieces had been committed
  EXPECT_EQ(blit_->wait_all(kLong), WaitResult::kReached);
  EXPECT_EQ(host, Bytes(host.size(), 0));
}

// Staging memory is used again after an error: what is left in the queue must not read it then.
TEST_P(BlitFaultsBehindAGate, WhatAFailureLeftBehindDoesNotRunLate) {
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

TEST_P(BlitFaults, AFailureUnderBackPressureReachesTheTransferThatWaits) {
  BlitQueueConfig config = config_with(GetParam());
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

TEST_P(BlitFaults, APoisonedPointFailsTheTransferWithItsError) {
  for (const bool unified : {false, true}) {
    open(unified, false, config_with(GetParam()));
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

TEST_P(BlitFaults, AHungTransferTimesOutAndGoesOnWhenItIsReleased) {
  device_->inject(FakeFault::kHang, 1, QueueKind::kCopyToHost);
  set_contents(pattern(100));
  Bytes out(100, 0);
  const BlitId id = blit_->download(out.data(), view(100), 100);
  EXPECT_EQ(blit_->wait(id, kShort), WaitResult::kTimeout);
  device_->release_hangs();
  EXPECT_EQ(blit_->wait(id, kLong), WaitResult::kReached);
  EXPECT_EQ(out, pattern(100));
}

TEST_P(BlitFaults, ALostCompletionIsMadeGoodByTheNextTransfer) {
  device_->inject(FakeFault::kLostCompletion, 1, QueueKind::kCopyToDevice);
  const Bytes in = pattern(100);
  const BlitId lost = blit_->upload(view(100), in.data(), 100);
  EXPECT_EQ(blit_->wait(lost, kShort), WaitResult::kTimeout);
  blit_->wait(blit_->upload(view(100, 100), in.data(), 100), kLong);
  EXPECT_EQ(blit_->wait(lost, kShort), WaitResult::kReached) << "it did run, and before the next";
  EXPECT_EQ(contents(100), in);
}

TEST_P(BlitFaults, WithoutStagingMemoryItIsNotMade) {
  for (uint64_t nth = 1; nth <= 2; ++nth) {
    device_->inject(FakeFault::kAllocation, nth);
    EXPECT_THROW(BlitQueue(device_, blit_config()), OutOfMemoryError) << nth;
  }
  const uint64_t held = device_->memory().live_bytes;
  {
    const BlitQueue blit(device_, blit_config());
  }
  EXPECT_EQ(device_->memory().live_bytes, held);
  device_->clear_faults();
  expect_works(6);
}

// With unified memory staging is taken when it is first needed.
TEST_P(BlitFaultsBehindAGate, StagingMemoryThatCannotBeHadIsAskedForAgain) {
  open(true);
  auto gate = device_->new_timeline();
  const Bytes in = pattern(100);
  EXPECT_EQ(blit_->statistics().staging_bytes, 0U);
  device_->inject(FakeFault::kAllocation, 1);
  EXPECT_THROW(blit_->upload(view(100), in.data(), 100, {gate, 1}), OutOfMemoryError);
  EXPECT_EQ(blit_->wait_all(kLong), WaitResult::kReached);
  const BlitId id = blit_->upload(view(100), in.data(), 100, {gate, 1});
  EXPECT_EQ(blit_->statistics().staging_bytes, 512U << 10) << "one direction";
  gate->signal(1);
  EXPECT_EQ(blit_->wait(id, kLong), WaitResult::kReached);
  EXPECT_EQ(contents(100), in);
}

TEST_P(BlitFaults, StagingMemoryIsAskedOfTheBudgetFirst) {
  std::vector<uint64_t> asked;
  const BlitQueue blit(device_, blit_config(), [&](uint64_t bytes) { asked.push_back(bytes); });
  EXPECT_EQ(asked, (std::vector<uint64_t>{512 << 10, 512 << 10}));
  const auto refuse = [](uint64_t) { throw OutOfMemoryError("budget", "over the limit"); };
  EXPECT_THROW(BlitQueue(device_, blit_config(), refuse), OutOfMemoryError);
}

INSTANTIATE_TEST_SUITE_P(SharedEvents, BlitFaultsBehindAGate, ::testing::Values(true));
INSTANTIATE_TEST_SUITE_P(Events, BlitFaults, ::testing::Bool(), [](const auto& tested) {
  return std::string(tested.param ? "Shared" : "Polling");
});

}  // namespace
}  // namespace krserve::runtime
