#include "engine/step/components.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "base/units.h"
#include "device/fake/fake_device.h"

namespace krserve::engine {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

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
