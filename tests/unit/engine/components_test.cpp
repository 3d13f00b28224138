#include "engine/step/components.h"

#include <gmock/gmock.h>

#include <cctype>

#include "base/error.h"
#include "base/units.h"
#include "device/fake/fake_device.h"
#include "unit/runtime/log_capture.h"

namespace krserve::engine {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// A way for one component not to start, and the line that says so.
struct Failure {
  const char* component;
  FakeFault fault;
  QueueKind queue;
  int64_t ring_size;
  const char* message;
};

void PrintTo(const Failure& failure, std::ostream* out) {
  *out << failure.component;
}

std::string in_capitals(std::string text) {
  for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return text;
}

class ComponentFailure : public ::testing::TestWithParam<Failure> {
 protected:
  ComponentFailure() {
    config_.enabled = true;
    config_.memory_pool.enabled = true;
    config_.memory_pool.heap_size_mb = 1;
    config_.memory_pool.num_heaps = 2;
    config_.memory_pool.warmup_sizes = {};
    config_.blit_queue.enabled = true;
    config_.command_buffer_ring.enabled = true;
    config_.command_buffer_ring.ring_size = GetParam().ring_size;
    device_->inject(GetParam().fault, 1, GetParam().queue);
  }

  std::shared_ptr<FakeDevice> device_ = std::make_shared<FakeDevice>();
  MetalOptimizationsConfig config_;
};

TEST_P(ComponentFailure, SwitchesOffThatComponentAloneWithTheSeedsMessage) {
  runtime::LogCapture log;
  const Components parts = make_components(device_, config_, {});
  const std::string failed = GetParam().component;
  EXPECT_EQ(parts.pool, failed != "pool");
  EXPECT_EQ(parts.blit, failed != "blit");
  EXPECT_EQ(parts.ring != nullptr, failed != "ring");
  EXPECT_NE(parts.allocator, nullptr);  // what takes its place works
  EXPECT_NE(parts.transfers, nullptr);
  EXPECT_THAT(log.text(), HasSubstr("Failed to initialize Metal optimizations"));
  EXPECT_EQ(log.count(std::string("[ERROR] ") + GetParam().message), 1) << log.text();
}

TEST_P(ComponentFailure, IsLoggedAtTheConfiguredLevel) {
  for (const char* level : {"error", "warn", "info", "debug"}) {
    runtime::LogCapture log;
    set_log_level(LogLevel::kDebug);
    config_.fallback_log_level = level;
    device_->clear_faults();
    device_->inject(GetParam().fault, 1, GetParam().queue);
    make_components(device_, config_, {});
    set_log_level(LogLevel::kInfo);
    const std::string line = "] [engine.start] Failed to initialize Metal optimizations: ";
    EXPECT_EQ(log.count(in_capitals(level) + line), 1) << log.text();
    EXPECT_EQ(log.count(std::string("[ERROR] ") + GetParam().message), 1) << "at every level";
  }
}

TEST_P(ComponentFailure, WithoutGracefulFallbackIsThrown) {
  config_.graceful_fallback = false;
  try {
    make_components(device_, config_, {});
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr(GetParam().message));
  }
  EXPECT_EQ(device_->memory().live_bytes, 0U);
}

TEST(Components, WhatIsOffNeitherStartsNorFails) {
  runtime::LogCapture log;
  MetalOptimizationsConfig config;
  config.memory_pool.enabled = config.blit_queue.enabled = config.command_buffer_ring.enabled =
      true;
  config.memory_pool.heap_size_mb = 0;
  config.command_buffer_ring.ring_size = 1;
  const Components parts = make_components(std::make_shared<FakeDevice>(), config, {});
  EXPECT_FALSE(parts.pool || parts.blit || parts.ring);
  EXPECT_EQ(log.text(), "");
}

INSTANTIATE_TEST_SUITE_P(
    All, ComponentFailure,
    ::testing::Values(Failure{"pool", FakeFault::kAllocation, QueueKind::kCompute, 3,
                              "MetalMemoryPool: Failed to create MTLHeap (out of memory)"},
                      Failure{"blit", FakeFault::kQueue, QueueKind::kCopyToDevice, 3,
                              "BlitQueue: Failed to create MTLCommandQueue (device unavailable)"},
                      Failure{"ring", FakeFault::kHang, QueueKind::kCompute, 1,
                              "CommandBufferRing: Invalid ring_size (must be >= 2)"}),
    [](const auto& test) { return std::string(test.param.component); });

MetalOptimizationsConfig blit_only(bool graceful) {
  MetalOptimizationsConfig config;
  config.enabled = true;
  config.graceful_fallback = graceful;
  config.blit_queue.enabled = true;
  return config;
}

std::shared_ptr<Device> discrete_device() {
  FakeOptions options;
  options.unified_memory = false;
  return std::make_shared<FakeDevice>(options);
}

TEST(Components, StagingMemoryCountsAgainstTheLimit) {
  const runtime::MemoryLimit tight{63 * kMiB, 0};
  EXPECT_FALSE(make_components(discrete_device(), blit_only(true), tight).blit);
  try {
    make_components(discrete_device(), blit_only(false), tight);
    FAIL() << "started";
  } catch (const OutOfMemoryError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("[blit_queue.staging] 32.0 MiB of staging memory"),
                                    HasSubstr("blit_queue.staging_buffer_size_mb")));
  }
  const Components c = make_components(discrete_device(), blit_only(false), {64 * kMiB, 0});
  EXPECT_TRUE(c.blit);
  EXPECT_EQ(c.transfers->statistics().staging_bytes, 64 * kMiB);
  EXPECT_THROW(c.allocator->allocate(1, runtime::MemoryTag::kOther), OutOfMemoryError);
}

}  // namespace
}  // namespace krserve::engine
