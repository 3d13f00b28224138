#include "config/recommend.h"

#include <gtest/gtest.h>

namespace krserve {
namespace {

constexpr uint64_t kGib = uint64_t{1} << 30;

TEST(Recommend, FollowsTheTableByMemory) {
  struct Case {
    uint64_t bytes;
    int64_t heap_size_mb, num_heaps;
  };
  for (const Case& c : {Case{8 * kGib, 128, 2}, Case{16 * kGib - (300 << 20), 256, 3},
                        Case{31 * kGib, 512, 4}, Case{36 * kGib, 512, 4}, Case{64 * kGib, 1024, 6},
                        Case{512 * kGib, 1024, 6}, Case{0, 128, 2}}) {
    const MetalOptimizationsConfig m = recommend_settings(c.bytes).settings;
    EXPECT_EQ(m.memory_pool.heap_size_mb, c.heap_size_mb) << c.bytes;
    EXPECT_EQ(m.memory_pool.num_heaps, c.num_heaps) << c.bytes;
  }
}

TEST(Recommend, TurnsEverythingOnAndWarmsUpOnlyWhatFitsAHeap) {
  for (const uint64_t gib : {1, 15, 30, 60}) {
    const MetalOptimizationsConfig m = recommend_settings(gib * kGib).settings;
    EXPECT_TRUE(m.enabled && m.memory_pool.enabled && m.blit_queue.enabled &&
                m.command_buffer_ring.enabled);
    for (const int64_t size : m.memory_pool.warmup_sizes) {
      EXPECT_LE(size, m.memory_pool.heap_size_mb);
    }
  }
}

}  // namespace
}  // namespace krserve
