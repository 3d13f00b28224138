#include "runtime/blit_queue/direct_blit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <thread>

#include "base/error.h"
#include "device/cpu/cpu_device.h"
#include "device/fake/fake_device.h"

namespace krserve::runtime {
namespace {

std::vector<uint8_t> counting(size_t bytes) {
  std::vector<uint8_t> out(bytes);
  std::iota(out.begin(), out.end(), uint8_t{1});
  return out;
}

TEST(DirectBlit, CopiesBothWaysAndIsOverOnReturn) {
  for (const std::shared_ptr<Device>& device :
       {make_cpu_device({.threads = 1, .simd_level = {}, .spin_us = 0}),
        std::shared_ptr<Device>(std::make_shared<FakeDevice>())}) {
    DirectBlit blit(device);
    auto one = device->new_buffer(100000, Storage::kPrivate);
    const auto in = counting(99999);
    std::vector<uint8_t> out(in.size());
    const BlitId up = blit.upload(whole(*one), in.data(), in.size());
    EXPECT_TRUE(blit.completion(up).reached());
    const BlitId down = blit.download(out.data(), whole(*one), out.size());
    EXPECT_EQ(out, in) << "before any wait";
    EXPECT_EQ(blit.wait(down, std::chrono::seconds(1)), WaitResult::kReached);
    EXPECT_EQ(blit.upload(whole(*one), in.data(), 0), 0U);
    const BlitStatistics statistics = blit.statistics();
    EXPECT_FALSE(statistics.enabled);
    EXPECT_EQ(statistics.total_uploads, 1U);
    EXPECT_EQ(statistics.total_downloads, 1U);
    EXPECT_EQ(statistics.upload_bytes, 99999U);
    EXPECT_EQ(statistics.download_bytes, 99999U);
    EXPECT_EQ(statistics.sync_wait_count, 2U);
  }
}

TEST(DirectBlit, StagingMemoryOfTheCallerIsCopiedBothWaysBeforeReturn) {
  const auto device = std::make_shared<FakeDevice>();
  DirectBlit blit(device);
  const auto data = device->new_buffer(1000, Storage::kPrivate);
  const auto host = device->new_buffer(1000, Storage::kStaging);
  const auto in = counting(1000);
  std::memcpy(host->contents(), in.data(), in.size());
  EXPECT_EQ(blit.upload_staged(whole(*data), whole(*host)), 0U);
  std::memset(host->contents(), 0, in.size());
  EXPECT_EQ(blit.download_staged(whole(*host), whole(*data)), 0U);
  EXPECT_EQ(std::memcmp(host->contents(), in.data(), in.size()), 0);
  EXPECT_EQ(blit.statistics().download_bytes, 1000U);
}

TEST(DirectBlit, WaitsForThePointItIsGiven) {
  auto device = std::make_shared<FakeDevice>();
  DirectBlit blit(device);
  auto queue = device->new_queue(QueueKind::kCompute);
  auto one = device->new_buffer(64, Storage::kShared);
  auto gate = device->new_timeline();
  auto steps = device->new_timeline();
  auto commands = queue->begin(CommandBufferUse::kOnce, "step");
  commands->fill(whole(*one), 7);
  const TimelinePoint opened{gate, 1};
  const TimelinePoint end{steps, 1};
  queue->commit(commands, {&opened, 1}, {&end, 1});
  std::vector<uint8_t> out(64);
  std::thread opener([&] { gate->signal(1); });
  blit.download(out.data(), whole(*one), out.size(), end);
  opener.join();
  EXPECT_EQ(out, std::vector<uint8_t>(64, 7));
}

TEST(DirectBlit, MetricsComeFromTheDevicesClock) {
  auto device = std::make_shared<FakeDevice>();
  device->set_duration("copy", 2'000'000);
  DirectBlit blit(device);
  auto one = device->new_buffer(64, Storage::kShared);
  const auto in = counting(64);
  blit.add_compute({1000, 1'001'000});
  blit.upload(whole(*one), in.data(), 64);  // 1000 .. 2001000
  EXPECT_DOUBLE_EQ(blit.statistics().avg_upload_ms, 2.0);
  EXPECT_DOUBLE_EQ(blit.statistics().overlap_ratio, 0.5);
  blit.reset_statistics();
  EXPECT_EQ(blit.statistics().total_uploads, 0U);
  EXPECT_EQ(blit.statistics().overlap_ratio, 0.0);
}

TEST(DirectBlit, ThrowsWhenACopyFailsAndTheNextWorks) {
  auto device = std::make_shared<FakeDevice>();
  DirectBlit blit(device);
  auto one = device->new_buffer(64, Storage::kShared);
  auto broken = device->new_timeline();
  broken->poison("step 4 failed");
  const auto in = counting(64);
  std::vector<uint8_t> out(64);
  device->inject(FakeFault::kExecution, 1, QueueKind::kCopyToDevice);
  EXPECT_THROW(blit.upload(whole(*one), in.data(), 64), DeviceError);
  device->inject(FakeFault::kCommit, 1, QueueKind::kCopyToDevice);
  EXPECT_THROW(blit.upload(whole(*one), in.data(), 64), DeviceError);
  EXPECT_THROW(blit.download(out.data(), whole(*one), 64, {broken, 1}), DeviceError);
  EXPECT_THROW(blit.upload(whole(*one).sub(0, 63), in.data(), 64), DeviceError) << "too large";
  EXPECT_EQ(blit.statistics().total_uploads, 0U);
  blit.upload(whole(*one), in.data(), 64);
  blit.download(out.data(), whole(*one), 64);
  EXPECT_EQ(out, in);
}

// A step that hangs must not hang the metrics with it.
TEST(DirectBlit, StatisticsAnswerWhileACopyWaits) {
  FakeOptions options;
  options.manual = true;
  auto device = std::make_shared<FakeDevice>(options);
  DirectBlit blit(device);
  auto one = device->new_buffer(64, Storage::kShared);
  const auto in = counting(64);
  std::thread uploader([&] { blit.upload(whole(*one), in.data(), 64); });
  while (device->count_calls("commit") == 0) std::this_thread::yield();
  EXPECT_EQ(blit.statistics().total_uploads, 0U);
  blit.add_compute({1, 2});
  EXPECT_TRUE(device->step());
  uploader.join();
  EXPECT_EQ(blit.statistics().total_uploads, 1U);
}

}  // namespace
}  // namespace krserve::runtime
