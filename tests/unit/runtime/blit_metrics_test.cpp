// Statistics and settings of the blit queue on schedules constructed on the fake device.
#include "runtime/blit_queue/pacer.h"
#include "unit/runtime/blit_fixture.h"
#include "unit/runtime/log_capture.h"

namespace krserve::runtime {
namespace {

class BlitMetrics : public FakeBlit {
 protected:
  void SetUp() override { open(false); }

  // A step from 1 us to 1.001 ms, and an upload of `upload_ns` beside or after it.
  double overlap_of(uint64_t upload_ns, bool after_the_step) {
    open(false);
    device_->set_duration("compute", 1'000'000);
    device_->set_duration("upload", upload_ns);
    auto steps = device_->new_timeline();
    auto commands = compute_->begin(CommandBufferUse::kOnce, "compute");
    const TimelinePoint end{steps, 1};
    compute_->commit(commands, {}, {&end, 1});
    const Bytes in = pattern(1000);
    blit_->upload(view(1000), in.data(), 1000, after_the_step ? end : TimelinePoint{});
    EXPECT_EQ(blit_->wait_all(kLong), WaitResult::kReached);
    blit_->add_compute(commands->timestamps());
    return blit_->statistics().overlap_ratio;
  }
};

TEST_F(BlitMetrics, OverlapIsCopyTimeBesideComputeByCopyTime) {
  EXPECT_DOUBLE_EQ(overlap_of(500'000, true), 0.0);
  EXPECT_DOUBLE_EQ(overlap_of(2'000'000, false), 0.5);
  EXPECT_DOUBLE_EQ(overlap_of(1'000'000, false), 1.0);
}

TEST_F(BlitMetrics, RatesAreBytesByDeviceTime) {
  device_->set_duration("upload", 1'000'000);
  device_->set_duration("download", 500'000);
  const Bytes in = pattern(100'000);
  Bytes out(in.size());
  blit_->upload(view(in.size()), in.data(), in.size());
  blit_->download(out.data(), view(in.size()), in.size());
  blit_->wait_all(kLong);
  const BlitStatistics s = blit_->statistics();
  EXPECT_DOUBLE_EQ(s.upload_gb_per_s, 0.1);
  EXPECT_DOUBLE_EQ(s.download_gb_per_s, 0.2);
  EXPECT_EQ(s.upload_bytes, in.size());
  EXPECT_EQ(s.download_bytes, in.size());
  EXPECT_EQ(s.staging_bytes, kMiB);
}

TEST_F(BlitMetrics, MappedBytesAreNoCopies) {
  blit_->add_mapped(4096);
  blit_->add_mapped(100);
  const BlitStatistics s = blit_->statistics();
  EXPECT_EQ(s.no_copy_count, 2U);
  EXPECT_EQ(s.mapped_bytes, 4196U);
  EXPECT_EQ(s.upload_bytes, 0U);
}

// The upload ends after 6 ms, the download never: 10 ms in all, not 10 for each.
TEST_F(BlitMetrics, WaitAllHasOneTimeOutForBothDirections) {
  device_->set_duration("upload", 6'000'000);
  device_->inject(FakeFault::kHang, 1, QueueKind::kCopyToHost);
  const Bytes in = pattern(100);
  Bytes out(100);
  const uint64_t start = device_->clock_ns();
  blit_->upload(view(100), in.data(), 100);
  blit_->download(out.data(), view(100), 100);
  EXPECT_EQ(blit_->wait_all(std::chrono::milliseconds(10)), WaitResult::kTimeout);
  EXPECT_EQ(device_->clock_ns() - start, 10'000'000U);
  device_->release_hangs();
  EXPECT_EQ(blit_->wait_all(kLong), WaitResult::kReached);
}

TEST_F(BlitMetrics, WithoutTrackMetricsNothingIsCounted) {
  for (const bool unified : {false, true}) {
    BlitQueueConfig config = blit_config();
    config.track_metrics = false;
    open(unified, false, config);
    const Bytes in = pattern(1000);
    Bytes out(1000);
    blit_->upload(view(1000), in.data(), 1000);
    blit_->wait_all(kLong);
    blit_->wait(blit_->download(out.data(), view(1000), 1000), kLong);
    blit_->add_compute({0, 1'000'000});
    EXPECT_EQ(out, in);
    const BlitStatistics s = blit_->statistics();
    EXPECT_TRUE(s.enabled);
    EXPECT_EQ(s.total_uploads + s.total_downloads + s.upload_bytes + s.no_copy_count, 0U);
    EXPECT_EQ(s.peak_queue_depth, 0U);
    EXPECT_EQ(s.overlap_ratio, 0.0);
  }
}

TEST_F(BlitMetrics, VerboseLoggingTellsEveryOperation) {
  for (const bool verbose : {true, false}) {
    LogCapture capture;
    BlitQueueConfig config = blit_config();
    config.verbose_logging = verbose;
    open(false, true, config);
    const Bytes in = pattern(300);
    Bytes out(100);
    blit_->upload(view(100, 1000), in.data(), 100);
    blit_->upload(view(100), in.data(), 100, {}, BlitPriority::kKv);
    blit_->upload(view(200, 100), in.data() + 100, 200, {}, BlitPriority::kKv);
    blit_->cancel(blit_->download(out.data(), view(100), 100));
    blit_->wait_all(kShort);
    run_all();
    EXPECT_EQ(capture.count("[blit_queue.submit] upload #1: 100 B, step, 1 pending"), verbose);
    EXPECT_EQ(capture.count("[blit_queue.coalesce] 200 B joins #2, kv"), verbose);
    EXPECT_EQ(capture.count("[blit_queue.submit] upload #2: 300 B, kv, 2 pending"), verbose);
    EXPECT_EQ(capture.count("[blit_queue.submit] download #1: 100 B, step, 1 pending"), verbose);
    EXPECT_EQ(capture.count("[blit_queue.cancel]"), verbose);
    open(true, false, config);
    blit_->upload(view(100), in.data(), 100);
    blit_->wait(blit_->download(out.data(), view(100), 100));
    EXPECT_EQ(capture.count("[blit_queue.no_copy] upload: 100 B, step"), verbose);
    EXPECT_EQ(capture.count("[blit_queue.no_copy] download: 100 B, step"), verbose);
  }
}

TEST_F(BlitMetrics, BackgroundCopiesArePacedWhileStepsRun) {
  for (const bool unified : {false, true}) {
    BlitQueueConfig config = blit_config();
    config.background_mb_per_s = 100;
    open(unified, false, config);
    const Bytes in = pattern(50'000);
    const auto upload = [&](BlitPriority priority) {
      blit_->upload(view(in.size()), in.data(), in.size(), {}, priority);
      return blit_->statistics().stalls[static_cast<size_t>(BlitStall::kPaced)];
    };
    for (int i = 0; i < 3; ++i) EXPECT_EQ(upload(BlitPriority::kKv), 0U) << "no step has run";
    blit_->add_compute({1, 2});
    EXPECT_EQ(upload(BlitPriority::kStep), 0U);
    upload(BlitPriority::kKv);
    upload(BlitPriority::kWeights);
    EXPECT_GE(upload(BlitPriority::kKv), 1U);
    const uint64_t paced = upload(BlitPriority::kStep);
    EXPECT_EQ(upload(BlitPriority::kStep), paced) << "never";
    blit_->wait_all(kLong);
  }
}

TEST(Pacer, SpreadsBytesOverTimeWhileStepsRun) {
  Pacer pacer(1'000'000);
  EXPECT_EQ(pacer.delay_ns(0, 5000), 0U);
  EXPECT_EQ(pacer.delay_ns(0, 5000), 0U) << "no step has run";
  pacer.note_compute(0);
  EXPECT_EQ(pacer.delay_ns(0, 5000), 0U);
  EXPECT_EQ(pacer.delay_ns(0, 5000), 5'000'000U) << "5000 bytes take 5 ms";
  EXPECT_EQ(pacer.delay_ns(1'000'000, 1000), 9'000'000U);
  EXPECT_EQ(pacer.delay_ns(50'000'000, 1000), 0U) << "a pause is not made up for";
  EXPECT_EQ(pacer.delay_ns(50'000'000, 1000), 1'000'000U);
  EXPECT_EQ(pacer.delay_ns(300'000'000, 1000), 0U);
  EXPECT_EQ(pacer.delay_ns(300'000'000, 1000), 0U) << "the steps have stopped";
}

TEST(Pacer, ZeroIsNoLimit) {
  Pacer pacer(0);
  pacer.note_compute(0);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(pacer.delay_ns(0, uint64_t{1} << 40), 0U);
}

}  // namespace
}  // namespace krserve::runtime
