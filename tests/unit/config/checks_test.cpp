#include "config/checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/presets.h"

namespace krserve {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Checks, DefaultsHaveNoWarnings) {
  EXPECT_THAT(config_warnings({}), IsEmpty());
}

TEST(Checks, WarmupLargerThanAHeapIsSkippedWithAWarning) {
  EXPECT_THAT(config_warnings(load_preset("all-on").values),
              ElementsAre("memory_pool.warmup_sizes: 512 MB does not fit a heap of heap_size_mb = "
                          "256; it is skipped"));
}

TEST(Checks, PartWithoutTheMasterSwitchHasNoEffect) {
  RuntimeConfig config;
  config.metal_optimizations.blit_queue.enabled = true;
  EXPECT_THAT(config_warnings(config),
              ElementsAre("metal_optimizations.blit_queue.enabled = true has no effect: "
                          "metal_optimizations.enabled is false"));
}

TEST(Checks, HeapsBeyondTheMemoryLimitAreNamed) {
  RuntimeConfig config = load_preset("realtime").values;
  config.memory.limit_mb = 255;
  EXPECT_THAT(config_warnings(config),
              ElementsAre("memory_pool: 2 heaps of 128 MB are 256 MB, more than memory.limit_mb = "
                          "255; the pool will not start"));
  config.memory.limit_mb = 256;
  EXPECT_THAT(config_warnings(config), IsEmpty());
}

TEST(Checks, GrowthWithoutALimitIsNamed) {
  RuntimeConfig config = load_preset("realtime").values;
  config.metal_optimizations.memory_pool.allow_growth = true;
  EXPECT_THAT(config_warnings(config),
              ElementsAre("memory_pool.allow_growth = true without memory.limit_mb: the pool may "
                          "grow until the device has no memory left"));
  config.memory.limit_mb = 4096;
  EXPECT_THAT(config_warnings(config), IsEmpty());
}

TEST(Checks, OpenAddressWithoutAKeyIsNamed) {
  RuntimeConfig config;
  config.server.host = "0.0.0.0";
  EXPECT_EQ(config_warnings(config).size(), 1u);
  config.server.api_key = "key";
  EXPECT_THAT(config_warnings(config), IsEmpty());
  config.server.api_key = "";
  for (const char* host : {"localhost", "127.0.0.2", "::1"}) {
    config.server.host = host;
    EXPECT_THAT(config_warnings(config), IsEmpty()) << host;
  }
}

TEST(Checks, TokensThatCannotFitTheContextAreNamed) {
  RuntimeConfig config;
  config.engine.ctx_size = 512;
  config.engine.default_max_tokens = 512;
  EXPECT_EQ(config_warnings(config).size(), 1u);
  config.engine.default_max_tokens = 511;
  EXPECT_THAT(config_warnings(config), IsEmpty());
}

}  // namespace
}  // namespace krserve
