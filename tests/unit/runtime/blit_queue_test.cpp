#include <atomic>
#include <cstring>
#include <thread>

#include "device/cpu/cpu_device.h"
#include "unit/runtime/blit_fixture.h"

namespace krserve::runtime {
namespace {

constexpr uint64_t kSizes[] = {1, 3, 64, 4099, 128 << 10, (128 << 10) + 1, (3 << 20) + 13};

struct Case {
  const char* name;
  bool unified;
  bool shared_events;
};

class BlitContents : public FakeBlit, public ::testing::WithParamInterface<Case> {
 protected:
  void SetUp() override {
    BlitQueueConfig config = blit_config();
    config.use_shared_events = GetParam().shared_events;
    open(GetParam().unified, false, config);
  }
};

TEST_P(BlitContents, UploadsArriveWhateverTheirSize) {
  for (const uint64_t bytes : kSizes) {
    const Bytes in = pattern(bytes);
    set_contents(Bytes(bytes + 2, 0));
    const BlitId id = blit_->upload(view(bytes, 1), in.data(), bytes);
    ASSERT_EQ(blit_->wait(id, kLong), WaitResult::kReached);
    EXPECT_EQ(contents(bytes, 1), in);
    EXPECT_EQ(contents(1), Bytes{0});
    EXPECT_EQ(contents(1, bytes + 1), Bytes{0});
  }
  EXPECT_EQ(blit_->statistics().total_uploads, std::size(kSizes));
}

TEST_P(BlitContents, DownloadsArriveWhateverTheirSize) {
  for (const uint64_t bytes : kSizes) {
    const Bytes source = pattern(bytes + 1, 9);
    set_contents(source);
    Bytes out(bytes + 1, 0xee);
    const BlitId id = blit_->download(out.data(), view(bytes, 1), bytes);
    ASSERT_EQ(blit_->wait(id, kLong), WaitResult::kReached);
    EXPECT_EQ(out.back(), 0xee);
    out.pop_back();
    EXPECT_EQ(out, Bytes(source.begin() + 1, source.end()));
  }
  const BlitStatistics s = blit_->statistics();
  EXPECT_EQ(s.total_downloads, std::size(kSizes));
  EXPECT_EQ(s.queue_depth, 0U);
}

TEST_P(BlitContents, StagingMemoryOfTheCallerGoesBothWaysWhateverItsSize) {
  const auto host = device_->new_buffer(4 * kMiB, Storage::kStaging);
  auto* bytes_of_host = reinterpret_cast<uint8_t*>(host->contents());
  for (const uint64_t bytes : kSizes) {
    const Bytes in = pattern(bytes, 5);
    std::copy(in.begin(), in.end(), bytes_of_host + 1);
    set_contents(Bytes(bytes + 2, 0));
    const BlitId up = blit_->upload_staged(view(bytes, 1), {host.get(), 1, bytes});
    ASSERT_EQ(blit_->wait(up, kLong), WaitResult::kReached);
    EXPECT_EQ(contents(bytes, 1), in);
    EXPECT_EQ(contents(1, bytes + 1), Bytes{0});
    std::fill_n(bytes_of_host, bytes + 2, uint8_t{0xee});
    const BlitId down = blit_->download_staged({host.get(), 1, bytes}, view(bytes, 1));
    ASSERT_EQ(blit_->wait(down, kLong), WaitResult::kReached);
    EXPECT_EQ(Bytes(bytes_of_host + 1, bytes_of_host + 1 + bytes), in);
    EXPECT_EQ(bytes_of_host[0], 0xee);
    EXPECT_EQ(bytes_of_host[bytes + 1], 0xee);
  }
  const BlitStatistics s = blit_->statistics();
  EXPECT_EQ(s.total_uploads, std::size(kSizes));
  EXPECT_EQ(s.total_downloads, std::size(kSizes));
  EXPECT_EQ(s.queue_depth, 0U);
  EXPECT_THROW(blit_->upload_staged(view(10), {host.get(), 0, 11}), DeviceError);
}

TEST_P(BlitContents, TheSourceMayBeReusedOnReturn) {
  Bytes in = pattern(100000);
  const Bytes kept = in;
  const BlitId id = blit_->upload(view(in.size()), in.data(), in.size());
  std::fill(in.begin(), in.end(), uint8_t{0});
  blit_->wait(id);
  EXPECT_EQ(contents(kept.size()), kept);
}

TEST_P(BlitContents, ManyTransfersWaitForAllAtOnce) {
  constexpr size_t kBytes = 50000;
  std::vector<Bytes> out(40, Bytes(kBytes));
  for (uint32_t i = 0; i < 40; ++i) {
    const Bytes in = pattern(kBytes, i);
    blit_->upload(view(kBytes, i * kBytes), in.data(), kBytes);
  }
  EXPECT_EQ(blit_->wait_all(kLong), WaitResult::kReached);
  for (uint32_t i = 0; i < 40; ++i) {
    blit_->download(out[i].data(), view(kBytes, i * kBytes), kBytes);
  }
  EXPECT_EQ(blit_->wait_all(kLong), WaitResult::kReached);
  for (uint32_t i = 0; i < 40; ++i) EXPECT_EQ(out[i], pattern(kBytes, i)) << i;
}

TEST_P(BlitContents, TransfersOfNothingAreNothingToWaitFor) {
  EXPECT_EQ(blit_->upload(view(0), nullptr, 0), 0U);
  EXPECT_EQ(blit_->download(nullptr, view(0), 0), 0U);
  EXPECT_EQ(blit_->wait(0), WaitResult::kReached);
  EXPECT_TRUE(blit_->completion(0).reached());
  EXPECT_EQ(blit_->wait_all(), WaitResult::kReached);
  EXPECT_EQ(blit_->statistics().total_uploads, 0U);
}

TEST_P(BlitContents, MoreThanTheViewHasIsRefused) {
  Bytes host(65);
  EXPECT_THROW(blit_->upload(view(64), host.data(), 65), DeviceError);
  EXPECT_THROW(blit_->download(host.data(), view(64), 65), DeviceError);
  EXPECT_EQ(blit_->statistics().total_uploads, 0U);
}

INSTANTIATE_TEST_SUITE_P(Memory, BlitContents,
                         ::testing::Values(Case{"Unified", true, true},
                                           Case{"UnifiedPolling", true, false},
                                           Case{"Discrete", false, true},
                                           Case{"DiscretePolling", false, false}),
                         [](const auto& tested) { return std::string(tested.param.name); });

class BlitQueueTest : public FakeBlit {
 protected:
  std::shared_ptr<CommandBuffer> commit_step(const std::vector<TimelinePoint>& waits,
                                             const std::vector<TimelinePoint>& signals,
                                             uint64_t bytes, uint8_t value) {
    auto commands = compute_->begin(CommandBufferUse::kOnce, "compute");
    commands->fill(view(bytes), value);
    compute_->commit(commands, waits, signals);
    return commands;
  }
};

TEST_F(BlitQueueTest, WithUnifiedMemoryNothingIsCopiedAndItIsCountedAsSuch) {
  open(true);
  const Bytes in = pattern(1000);
  Bytes out(1000);
  EXPECT_EQ(blit_->upload(view(1000), in.data(), 1000), 0U);
  blit_->wait(blit_->download(out.data(), view(1000), 1000));
  EXPECT_EQ(out, in);
  const BlitStatistics s = blit_->statistics();
  EXPECT_EQ(s.no_copy_count, 2U);
  EXPECT_EQ(s.total_uploads, 1U);
  EXPECT_EQ(s.total_downloads, 1U);
  EXPECT_EQ(s.upload_bytes, 1000U);
  EXPECT_EQ(device_->count_calls("commit copy"), 0U);
}

TEST_F(BlitQueueTest, WithDiscreteMemoryNothingIsCountedAsNoCopy) {
  open(false);
  const Bytes in = pattern(1000);
  blit_->wait(blit_->upload(view(1000), in.data(), 1000));
  EXPECT_EQ(blit_->statistics().no_copy_count, 0U);
  EXPECT_EQ(device_->count_calls("commit copy_to_device"), 1U);
}

// The staging memory of a step's own is host memory on every device.
TEST_F(BlitQueueTest, StagingMemoryIsWrittenAndReadInPlace) {
  open(false, true);
  auto mailbox = device_->new_buffer(100, Storage::kStaging);
  const Bytes data = pattern(100);
  EXPECT_EQ(blit_->upload(whole(*mailbox), data.data(), 100), 0U);
  EXPECT_EQ(std::memcmp(mailbox->contents(), data.data(), 100), 0);
  const auto written = device_->new_timeline();
  Bytes out(100);
  const BlitId id = blit_->download(out.data(), whole(*mailbox), 100, {written, 1});
  EXPECT_EQ(blit_->wait(id, kShort), WaitResult::kTimeout);
  written->signal(1);
  EXPECT_EQ(blit_->wait(id), WaitResult::kReached);
  EXPECT_EQ(out, data);
  EXPECT_EQ(blit_->statistics().no_copy_count, 2U);
  EXPECT_EQ(device_->count_calls("commit"), 0U);
}

TEST_F(BlitQueueTest, AComputeStepWaitsForAnUploadAndADownloadForTheStep) {
  for (const bool unified : {false, true}) {
    open(unified);
    auto gate = device_->new_timeline();
    auto steps = device_->new_timeline();
    const Bytes in = pattern(500);
    const BlitId up = blit_->upload(view(500), in.data(), 500, {gate, 1});
    EXPECT_FALSE(blit_->completion(up).reached());
    commit_step({blit_->completion(up)}, {{steps, 1}}, 250, 0x11);
    Bytes out(500);
    const BlitId down = blit_->download(out.data(), view(500), 500, {steps, 1});
    EXPECT_EQ(blit_->wait(down, kShort), WaitResult::kTimeout);
    gate->signal(1);
    EXPECT_EQ(blit_->wait(down, kLong), WaitResult::kReached);
    Bytes expected = in;
    std::fill_n(expected.begin(), 250, uint8_t{0x11});
    EXPECT_EQ(out, expected);
    EXPECT_EQ(blit_->wait(up, kLong), WaitResult::kReached);
  }
}

// In shared memory a later upload must not overtake one that still waits.
TEST_F(BlitQueueTest, UploadsToTheSamePlaceHappenInOrder) {
  open(true);
  auto gate = device_->new_timeline();
  const Bytes first = pattern(100, 1);
  const Bytes second = pattern(100, 2);
  const BlitId a = blit_->upload(view(100), first.data(), 100, {gate, 1});
  const BlitId b = blit_->upload(view(100), second.data(), 100);
  EXPECT_NE(b, 0U) << "behind the first";
  EXPECT_EQ(blit_->upload(view(100, 100), second.data(), 100), 0U) << "elsewhere it is a store";
  gate->signal(1);
  blit_->wait(a);
  blit_->wait(b);
  EXPECT_EQ(contents(100), second);
  EXPECT_EQ(blit_->upload(view(100), first.data(), 100), 0U);
}

TEST_F(BlitQueueTest, WithoutSharedEventsTheHostWaitsBeforeIt) {
  BlitQueueConfig config = blit_config();
  config.use_shared_events = false;
  open(false, false, config);
  auto gate = device_->new_timeline();
  const Bytes in = pattern(500);
  std::thread uploader([&] { blit_->wait(blit_->upload(view(500), in.data(), 500, {gate, 1})); });
  // Meanwhile nobody else is held up.
  Bytes out(100);
  EXPECT_EQ(blit_->wait(blit_->download(out.data(), view(100, 1000), 100), kLong),
            WaitResult::kReached);
  EXPECT_EQ(device_->count_calls("commit copy_to_device"), 0U);
  gate->signal(1);
  uploader.join();
  EXPECT_EQ(contents(500), in);
}

TEST_F(BlitQueueTest, NoMoreThanMaxPendingOpsAreQueued) {
  BlitQueueConfig config = blit_config();
  config.max_pending_ops = 2;
  open(false, true, config);
  const Bytes in = pattern(100);
  blit_->upload(view(100), in.data(), 100);
  blit_->upload(view(100, 1000), in.data(), 100);
  std::thread third([&] { blit_->upload(view(100, 2000), in.data(), 100); });
  while (blit_->statistics().stall_count == 0) std::this_thread::yield();
  EXPECT_EQ(device_->count_calls("commit"), 2U) << "the third waits for room";
  EXPECT_TRUE(device_->step());
  third.join();
  EXPECT_EQ(device_->count_calls("commit"), 3U);
  BlitStatistics s = blit_->statistics();
  EXPECT_EQ(s.stall_count, 1U);
  EXPECT_EQ(s.stalls[static_cast<size_t>(BlitStall::kPendingLimit)], 1U);
  EXPECT_EQ(s.peak_queue_depth, 2U);
  EXPECT_EQ(s.sync_wait_count, 1U);
  run_all();
  EXPECT_EQ(blit_->wait_all(kLong), WaitResult::kReached);
  EXPECT_EQ(blit_->statistics().queue_depth, 0U);
  EXPECT_EQ(contents(100, 2000), in);
}

TEST_F(BlitQueueTest, ATransferLargerThanTheStagingRingGoesThroughItInPieces) {
  open(false, true);
  const Bytes in = pattern(2 * kMiB + 77);
  std::thread uploader([&] { blit_->upload(view(in.size()), in.data(), in.size()); });
  uint64_t steps = 0;
  while (steps < 17) steps += device_->step() ? 1 : 0;  // ceil of size / 128 KiB
  uploader.join();
  EXPECT_EQ(blit_->wait_all(kLong), WaitResult::kReached);
  EXPECT_EQ(contents(in.size()), in);
  EXPECT_EQ(blit_->statistics().total_uploads, 1U);
  EXPECT_LE(blit_->statistics().peak_queue_depth, 4U) << "four pieces fill the ring";
}

TEST_F(BlitQueueTest, AWaitThatTimesOutLeavesTheTransferPending) {
  open(false, true);
  set_contents(pattern(300));
  Bytes out(300, 0);
  const BlitId id = blit_->download(out.data(), view(300), 300);
  EXPECT_EQ(blit_->wait(id, kShort), WaitResult::kTimeout);
  EXPECT_EQ(blit_->wait_all(kShort), WaitResult::kTimeout);
  EXPECT_EQ(blit_->statistics().queue_depth, 1U);
  run_all();
  EXPECT_EQ(blit_->wait(id, kLong), WaitResult::kReached);
  EXPECT_EQ(out, pattern(300));
  EXPECT_EQ(blit_->wait(id, kLong), WaitResult::kReached) << "again";
}

TEST_F(BlitQueueTest, MetricsAreTheDevicesTimestamps) {
  open(false);
  device_->set_duration("upload", 2'000'000);
  device_->set_duration("download", 500'000);
  device_->set_duration("compute", 1'000'000);
  auto steps = device_->new_timeline();
  auto compute = commit_step({}, {{steps, 1}}, 16, 1);  // 1000 .. 1001000
  const Bytes in = pattern(100);
  Bytes out(100);
  const BlitId up = blit_->upload(view(100, 1000), in.data(), 100);  // 1000 .. 2001000
  blit_->wait(blit_->download(out.data(), view(100, 1000), 100, blit_->completion(up)));
  blit_->wait_all();
  blit_->add_compute(compute->timestamps());
  BlitStatistics s = blit_->statistics();
  EXPECT_TRUE(s.enabled);
  EXPECT_DOUBLE_EQ(s.avg_upload_ms, 2.0);
  EXPECT_DOUBLE_EQ(s.avg_download_ms, 0.5);
  EXPECT_DOUBLE_EQ(s.copy_ms, 2.5);
  EXPECT_DOUBLE_EQ(s.overlapped_ms, 1.0);
  EXPECT_DOUBLE_EQ(s.overlap_ratio, 1.0 / 2.5);
  EXPECT_EQ(out, in);
  blit_->reset_statistics();
  s = blit_->statistics();
  EXPECT_EQ(s.total_uploads, 0U);
  EXPECT_EQ(s.overlap_ratio, 0.0);
  EXPECT_EQ(s.avg_upload_ms, 0.0);
}

TEST_F(BlitQueueTest, TheAverageOfATransferInPiecesIsOfTheTransfer) {
  open(false);
  device_->set_duration("upload", 1'000'000);
  const Bytes in = pattern(512 << 10);
  blit_->wait(blit_->upload(view(in.size()), in.data(), in.size()));
  EXPECT_DOUBLE_EQ(blit_->statistics().avg_upload_ms, 4.0);
}

TEST_F(BlitQueueTest, ACancelledDownloadDoesNotReachItsDestination) {
  for (const bool unified : {false, true}) {
    open(unified, true);
    set_contents(pattern(300 << 10));
    auto steps = device_->new_timeline();
    Bytes kept(300 << 10, 0);
    Bytes dropped(300 << 10, 0);
    const BlitId a = blit_->download(kept.data(), view(kept.size()), kept.size(), {steps, 1});
    std::thread stepper;
    if (!unified) {  // room for one of them only: pieces of both are in the ring
      stepper = std::thread([&] {
        steps->signal(1);
        while (device_->count_calls("commit") < 6) device_->step();
      });
    }
    const BlitId b =
        blit_->download(dropped.data(), view(dropped.size()), dropped.size(), {steps, 1});
    if (stepper.joinable()) stepper.join();
    blit_->cancel(b);
    blit_->cancel(b);
    blit_->cancel(0);
    const Bytes after_cancel = dropped;
    steps->signal(1);
    run_all();
    EXPECT_EQ(blit_->wait_all(kLong), WaitResult::kReached);
    EXPECT_EQ(dropped, after_cancel) << "not written after cancel() returned";
    EXPECT_EQ(blit_->wait(a, kLong), WaitResult::kReached);
    EXPECT_EQ(kept, pattern(kept.size()));
  }
}

// Transfers larger than the ring, one after the other, while a step's own keep their staging
// memory.
TEST_F(BlitQueueTest, StagingMemoryOfTheCallerTakesNoneOfTheQueues) {
  open(false, true);
  const auto host = device_->new_buffer(1 * kMiB, Storage::kStaging);
  blit_->upload_staged(view(100 << 10), {host.get(), 0, 100 << 10});
  blit_->upload_staged(view(100 << 10, 1 << 20), {host.get(), 0, 100 << 10});
  const Bytes in = pattern(384 << 10);  // of the ring's 512 KiB
  blit_->upload(view(in.size(), 2 << 20), in.data(), in.size());
  EXPECT_EQ(blit_->statistics().stall_count, 0U);
  run_all();
  EXPECT_EQ(blit_->wait_all(kLong), WaitResult::kReached);
  EXPECT_EQ(contents(in.size(), 2 << 20), in);
}

TEST_F(BlitQueueTest, CancellingADownloadToStagingMemoryWaitsForItsEnd) {
  open(false, true);
  const auto host = device_->new_buffer(1000, Storage::kStaging);
  const BlitId id = blit_->download_staged(whole(*host), view(1000));
  std::atomic<bool> cancelled{false};
  std::thread canceller([&] {
    blit_->cancel(id);
    cancelled = true;
  });
  while (blit_->statistics().cancelled_count == 0) std::this_thread::yield();
  std::this_thread::sleep_for(kShort);
  EXPECT_FALSE(cancelled);
  run_all();
  canceller.join();
  EXPECT_TRUE(cancelled);
}

TEST_F(BlitQueueTest, IsDestroyedWithTransfersThatWillNeverRun) {
  open(false, true);
  const Bytes in = pattern(100);
  Bytes out(100);
  auto never = device_->new_timeline();
  blit_->upload(view(100), in.data(), 100, {never, 1});
  const TimelinePoint end = blit_->completion(blit_->download(out.data(), view(100), 100));
  blit_.reset();
  EXPECT_THROW(end.wait(kLong), DeviceError) << "its waiters are not left behind";
  EXPECT_EQ(out, Bytes(100, 0));
}

// The CPU's real copy threads: six threads with their own memory, every upload through the queue.
TEST(BlitQueueOnTheCpu, ThreadsTransferTogether) {
  auto device = make_cpu_device({.threads = 1, .simd_level = {}, .spin_us = 0});
  BlitQueueConfig config = blit_config();
  config.max_pending_ops = 3;
  BlitQueue blit(device, config);
  std::vector<std::thread> threads;
  for (uint32_t id = 0; id < 6; ++id) {
    threads.emplace_back([&, id] {
      const size_t bytes = 1000 + id * 60000;
      auto mine = device->new_buffer(bytes, Storage::kShared);
      auto gate = device->new_timeline();
      Bytes out(bytes);
      for (uint32_t i = 1; i <= 30; ++i) {
        const Bytes in = pattern(bytes, id * 1000 + i);
        std::thread opener(
            [&] { gate->signal(i); });  // a transfer larger than the ring waits for it
        const BlitId up = blit.upload(whole(*mine), in.data(), bytes, {gate, i});
        const BlitId down = blit.download(out.data(), whole(*mine), bytes, blit.completion(up));
        EXPECT_EQ(blit.wait(down, kLong), WaitResult::kReached);
        EXPECT_EQ(out, in);
        opener.join();
        if (i % 8 == 0) blit.wait_all(kLong);
        EXPECT_GE(blit.statistics().total_uploads, i);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(blit.statistics().total_uploads, 180U);
  EXPECT_EQ(blit.statistics().total_downloads, 180U);
}

}  // namespace
}  // namespace krserve::runtime
