#include "config/presets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "unit/config/support.h"

namespace krserve {
namespace {

using testing::ElementsAre;
using testing_support::read_file;
using testing_support::refusal;

const MetalOptimizationsConfig& tree(const LoadedConfig& config) {
  return config.values.metal_optimizations;
}

void expect_all_on(const LoadedConfig& config) {
  EXPECT_TRUE(tree(config).enabled);
  EXPECT_TRUE(tree(config).memory_pool.enabled);
  EXPECT_TRUE(tree(config).blit_queue.enabled);
  EXPECT_TRUE(tree(config).command_buffer_ring.enabled);
}

TEST(Presets, CompiledInTextEqualsTheFolder) {
  std::set<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(KR_SOURCE_DIR "/config/presets")) {
    files.insert(entry.path().filename().string());
  }
  for (const Preset& preset : presets()) {
    EXPECT_EQ(preset.yaml, read_file(std::string(KR_SOURCE_DIR "/") + std::string(preset.source)));
    EXPECT_EQ(files.erase(std::string(preset.name) + ".yaml"), 1u) << preset.name;
  }
  EXPECT_TRUE(files.empty()) << *files.begin() << " is not compiled in: src/config/CMakeLists.txt";
}

TEST(Presets, EveryOneTurnsAllThreePartsOn) {
  for (const Preset& preset : presets()) expect_all_on(load_preset(preset.name));
}

TEST(Presets, AllOnHasTheQuickStartValues) {
  const LoadedConfig config = load_preset("all-on");
  EXPECT_EQ(tree(config).memory_pool.heap_size_mb, 256);
  EXPECT_EQ(tree(config).memory_pool.num_heaps, 4);
  EXPECT_THAT(tree(config).memory_pool.warmup_sizes, ElementsAre(32, 128, 512));
  EXPECT_EQ(tree(config).blit_queue.max_pending_ops, 8);
  EXPECT_EQ(tree(config).command_buffer_ring.ring_size, 3);
}

TEST(Presets, RealtimeIsSmallAndFailsFast) {
  const LoadedConfig config = load_preset("realtime");
  EXPECT_EQ(tree(config).memory_pool.heap_size_mb, 128);
  EXPECT_EQ(tree(config).memory_pool.num_heaps, 2);
  EXPECT_THAT(tree(config).memory_pool.warmup_sizes, ElementsAre(32, 64));
  EXPECT_EQ(tree(config).blit_queue.max_pending_ops, 4);
  EXPECT_EQ(tree(config).command_buffer_ring.ring_size, 2);
  EXPECT_EQ(tree(config).command_buffer_ring.timeout_ms, 500);
}

TEST(Presets, BatchIsLargeAndWaits) {
  const LoadedConfig config = load_preset("batch");
  EXPECT_EQ(tree(config).memory_pool.heap_size_mb, 512);
  EXPECT_EQ(tree(config).memory_pool.num_heaps, 6);
  EXPECT_THAT(tree(config).memory_pool.warmup_sizes, ElementsAre(32, 128, 512, 1024));
  EXPECT_EQ(tree(config).blit_queue.max_pending_ops, 16);
  EXPECT_EQ(tree(config).blit_queue.staging_buffer_size_mb, 128);
  EXPECT_EQ(tree(config).command_buffer_ring.ring_size, 4);
  EXPECT_EQ(tree(config).command_buffer_ring.timeout_ms, 0);
}

TEST(Presets, DebugLogsEverything) {
  const LoadedConfig config = load_preset("debug");
  EXPECT_EQ(tree(config).fallback_log_level, "debug");
  EXPECT_EQ(tree(config).blit_queue.max_pending_ops, 2);
  EXPECT_TRUE(tree(config).blit_queue.verbose_logging);
  EXPECT_TRUE(tree(config).command_buffer_ring.log_wait_events);
  EXPECT_TRUE(tree(config).memory_pool.log_exhaustion);
}

TEST(Presets, LeaveEverythingElseAtItsDefault) {
  for (const Preset& preset : presets()) {
    for (const auto& [path, origin] : load_preset(preset.name).origins) {
      EXPECT_TRUE(path.starts_with("metal_optimizations.")) << preset.name << " sets " << path;
    }
  }
}

TEST(Presets, UnknownNameListsTheKnownOnes) {
  EXPECT_EQ(refusal([] { load_preset("real-time"); }),
            "[config.load] unknown preset real-time; did you mean realtime? the presets are "
            "all-on, batch, debug, realtime");
  EXPECT_EQ(refusal([] { load_preset("../runtime"); }),
            "[config.load] unknown preset ../runtime; the presets are all-on, batch, debug, "
            "realtime");
}

}  // namespace
}  // namespace krserve
