// The pool's caches of small blocks, growth, trimming, warm-up and switched-off statistics.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <mutex>
#include <random>
#include <thread>

#include "base/error.h"
#include "base/units.h"
#include "device/fake/fake_device.h"
#include "runtime/memory_pool/memory_pool.h"
#include "runtime/memory_pool/size_classes.h"
#include "unit/runtime/log_capture.h"

namespace krserve::runtime {
namespace {

using ::testing::HasSubstr;

constexpr const char* kExhausted =
    "[WARN] [memory_pool.allocate] MetalMemoryPool exhausted, falling back to on-demand allocation";

MemoryPoolConfig pool_config(int64_t heap_mb, int64_t heaps = 1) {
  MemoryPoolConfig config;
  config.enabled = true;
  config.heap_size_mb = heap_mb;
  config.num_heaps = heaps;
  config.warmup_sizes = {};
  return config;
}

MemoryPoolConfig growing_config(int64_t heap_mb) {
  MemoryPoolConfig config = pool_config(heap_mb);
  config.allow_growth = true;
  return config;
}

class PoolCacheTest : public ::testing::Test {
 protected:
  std::shared_ptr<FakeDevice> device_ = std::make_shared<FakeDevice>();
  LogCapture log_;
};

TEST(SizeClasses, EveryClassHoldsItsSizesAndWastesAtMostAnEighth) {
  for (uint64_t granules = 1; granules <= kCachedGranules; ++granules) {
    const uint32_t size_class = size_class_of(granules);
    ASSERT_LT(size_class, kSizeClasses);
    const uint64_t held = granules_of_class(size_class);
    ASSERT_GE(held, granules);
    ASSERT_LE(held - granules, granules / 8);
    ASSERT_LT(size_class > 0 ? granules_of_class(size_class - 1) : 0, granules);
  }
}

TEST_F(PoolCacheTest, AFreedSmallBlockIsTheNextOfItsSize) {
  MemoryPool pool(device_, pool_config(64));
  Allocation a = pool.allocate(1000, MemoryTag::kOther);
  const BufferView first = a.view();
  EXPECT_EQ(a.held_bytes(), 1024U);
  a.reset();
  EXPECT_GT(pool.statistics().cached_bytes, 0U);
  EXPECT_EQ(pool.statistics().live_objects, 0U);
  EXPECT_EQ(pool.statistics().active_heaps, 0U) << "waiting is not use";
  EXPECT_EQ(pool.statistics().utilization, 0.0);
  Allocation b = pool.allocate(1001, MemoryTag::kKv);
  EXPECT_EQ(b.view().buffer, first.buffer);
  EXPECT_EQ(b.view().offset, first.offset);
  EXPECT_EQ(b.view().bytes, 1001U);
  EXPECT_TRUE(pool.check_integrity());
  b.reset();
  pool.collect(true);
  EXPECT_EQ(pool.statistics().cached_bytes, 0U);
  EXPECT_EQ(pool.statistics().largest_free_block_bytes, 64 * kMiB) << "merged again";
  EXPECT_TRUE(pool.check_integrity());
}

TEST_F(PoolCacheTest, WhatWaitsInACacheIsBounded) {
  MemoryPool pool(device_, pool_config(64));
  std::vector<Allocation> held;
  for (int i = 0; i < 4000; ++i) {
    held.push_back(pool.allocate(64 + static_cast<uint64_t>(i) % 8192, MemoryTag::kOther));
  }
  held.clear();
  EXPECT_LE(pool.statistics().cached_bytes, 64 * kMiB / 128);
  EXPECT_TRUE(pool.check_integrity());
}

TEST_F(PoolCacheTest, CachedBlocksNeverCauseAFallback) {
  MemoryPool pool(device_, pool_config(64));
  std::vector<Allocation> small;
  for (int i = 0; i < 100; ++i) small.push_back(pool.allocate(4096, MemoryTag::kOther));
  small.clear();
  ASSERT_GT(pool.statistics().cached_bytes, 0U);
  Allocation all = pool.allocate(64 * kMiB, MemoryTag::kKv);
  EXPECT_EQ(pool.statistics().fallback_allocations, 0U);
  EXPECT_EQ(pool.statistics().cached_bytes, 0U);
}

TEST_F(PoolCacheTest, ABlockFreedByAnotherThreadGoesBackToItsShard) {
  MemoryPool pool(device_, pool_config(64));
  Allocation a = pool.allocate(256, MemoryTag::kStaging);
  const uint64_t offset = a.view().offset;
  std::thread([&] { a.reset(); }).join();
  EXPECT_EQ(pool.statistics().live_objects, 0U);
  EXPECT_EQ(pool.allocate(256, MemoryTag::kStaging).view().offset, offset);
  EXPECT_TRUE(pool.check_integrity());
}

TEST_F(PoolCacheTest, PeaksOfSmallAndLargeBlocksTogetherAreExactForOneThread) {
  MemoryPool pool(device_, pool_config(64));
  const auto peak = [&] { return pool.statistics().peak_bytes; };
  Allocation small = pool.allocate(1024, MemoryTag::kKv);
  small.reset();
  Allocation large = pool.allocate(kMiB, MemoryTag::kKv);
  EXPECT_EQ(peak(), kMiB) << "never live together";
  small = pool.allocate(2048, MemoryTag::kOther);
  EXPECT_EQ(peak(), kMiB + 2048);
  large.reset();
  Allocation two = pool.allocate(4096, MemoryTag::kOther);
  EXPECT_EQ(peak(), kMiB + 2048);
  const PoolStatistics s = pool.statistics();
  EXPECT_EQ(s.tags[static_cast<uint32_t>(MemoryTag::kKv)].peak_bytes, kMiB);
  EXPECT_EQ(s.tags[static_cast<uint32_t>(MemoryTag::kOther)].peak_bytes, 2048U + 4096U);
  EXPECT_EQ(s.total_allocations, 4U);
  pool.reset_statistics();
  EXPECT_EQ(peak(), 2048U + 4096U);
  EXPECT_EQ(pool.statistics().total_allocations, 0U);
}

TEST_F(PoolCacheTest, ABurstEndsOnlyWhenAnAllocationOfItsSizeSucceeds) {
  MemoryPool pool(device_, pool_config(64));
  Allocation most = pool.allocate(63 * kMiB, MemoryTag::kKv);
  for (int i = 0; i < 3; ++i) {
    Allocation large = pool.allocate(2 * kMiB, MemoryTag::kKv);  // no room
    Allocation small = pool.allocate(512, MemoryTag::kKv);       // room, but that says nothing
  }
  EXPECT_EQ(log_.count(kExhausted), 1) << log_.text();
  EXPECT_THAT(log_.text(), HasSubstr("2.0 MiB asked, 1.0 MiB free, largest free block 1.0 MiB, "
                                     "1 heaps of 64 MB"));
  EXPECT_EQ(pool.statistics().exhaustion_count, 1U);
  EXPECT_EQ(pool.statistics().fallback_allocations, 3U);
  most.reset();
  Allocation fits = pool.allocate(2 * kMiB, MemoryTag::kKv);
  most = pool.allocate(62 * kMiB, MemoryTag::kKv);
  Allocation again = pool.allocate(2 * kMiB, MemoryTag::kKv);
  EXPECT_EQ(pool.statistics().exhaustion_count, 2U);
}

TEST_F(PoolCacheTest, GrowthAddsHeapsInsteadOfFallingBackAndTrimGivesThemBack) {
  MemoryPool pool(device_, growing_config(4));
  std::vector<Allocation> held;
  for (int i = 0; i < 5; ++i) held.push_back(pool.allocate(3 * kMiB, MemoryTag::kKv));
  PoolStatistics s = pool.statistics();
  EXPECT_EQ(s.total_heaps, 5U);
  EXPECT_EQ(s.heaps_grown, 4U);
  EXPECT_EQ(s.hit_rate, 1.0);
  EXPECT_EQ(s.exhaustion_count, 0U);
  EXPECT_EQ(device_->memory().live_bytes, 20 * kMiB);

  EXPECT_EQ(pool.trim(), 0U) << "all in use";
  held.erase(held.begin() + 1, held.begin() + 3);
  EXPECT_EQ(pool.trim(), 8 * kMiB);
  EXPECT_EQ(device_->memory().live_bytes, 12 * kMiB);
  EXPECT_TRUE(pool.check_integrity());
  held.push_back(pool.allocate(3 * kMiB, MemoryTag::kKv));
  EXPECT_EQ(pool.statistics().total_heaps, 4U) << "in the place of a trimmed one";
  EXPECT_TRUE(pool.check_integrity());
  held.clear();
  pool.trim();
  s = pool.statistics();
  EXPECT_EQ(s.total_heaps, 1U) << "what it started with stays";
  EXPECT_EQ(s.heaps_trimmed, 5U);
  EXPECT_EQ(device_->memory().live_bytes, 4 * kMiB);
}

TEST_F(PoolCacheTest, SmallBlocksThatWaitDoNotKeepAGrownHeap) {
  MemoryPool pool(device_, growing_config(16));
  Allocation most = pool.allocate(16 * kMiB, MemoryTag::kKv);
  {
    Allocation small = pool.allocate(512, MemoryTag::kKv);
  }
  EXPECT_EQ(pool.statistics().total_heaps, 2U);
  EXPECT_EQ(pool.trim(), 16 * kMiB);
  EXPECT_TRUE(pool.check_integrity());
}

TEST_F(PoolCacheTest, GrowthStopsAtTheLimitAndThenBuffersOfTheirOwnServeWhatIsLeft) {
  MemoryPool pool(device_, growing_config(4), {10 * kMiB, 0});
  Allocation a = pool.allocate(4 * kMiB, MemoryTag::kKv);
  Allocation b = pool.allocate(4 * kMiB, MemoryTag::kKv);
  Allocation c = pool.allocate(kMiB, MemoryTag::kKv);  // no room for a heap, but for this
  EXPECT_EQ(pool.statistics().total_heaps, 2U);
  EXPECT_EQ(pool.statistics().fallback_allocations, 1U);
  EXPECT_EQ(pool.statistics().on_demand_bytes, kMiB);
  EXPECT_THROW(pool.allocate(2 * kMiB, MemoryTag::kKv), OutOfMemoryError);
  EXPECT_TRUE(pool.check_integrity());
}

TEST_F(PoolCacheTest, WhatIsLargerThanAHeapIsNotGrownFor) {
  MemoryPool pool(device_, growing_config(4));
  Allocation a = pool.allocate(5 * kMiB, MemoryTag::kKv);
  EXPECT_EQ(pool.statistics().total_heaps, 1U);
  EXPECT_EQ(pool.statistics().fallback_allocations, 1U);
}

TEST_F(PoolCacheTest, EveryDeviceAllocationOfAGrowingPoolMayFail) {
  uint64_t nth = 1;
  for (bool struck = true; struck; ++nth) {
    auto device = std::make_shared<FakeDevice>();
    device->inject(FakeFault::kAllocation, nth);
    try {
      MemoryPool pool(device, growing_config(2));
      std::vector<Allocation> held;
      for (const uint64_t kib : {1500, 1500, 3, 1500, 3000, 700, 12, 2048}) {
        const uint64_t objects = pool.statistics().live_objects;
        try {
          held.push_back(pool.allocate(kib * kKiB, MemoryTag::kKv));
        } catch (const OutOfMemoryError&) {
          EXPECT_EQ(pool.statistics().live_objects, objects);
        }
        ASSERT_TRUE(pool.check_integrity()) << nth;
      }
      held.clear();
      pool.trim();
      EXPECT_TRUE(pool.check_integrity());
      EXPECT_EQ(device->memory().live_bytes, 2 * kMiB) << "the first heap and nothing else";
    } catch (const OutOfMemoryError&) {
      EXPECT_EQ(nth, 1U) << "only the first heap is indispensable";
    }
    EXPECT_EQ(device->memory().live_bytes, 0U);
    struck = device->count_calls("new_") >= nth;
  }
  EXPECT_GE(nth, 6U) << "a heap, three grown ones and a buffer were struck";
  EXPECT_EQ(log_.count("still allocated"), 0);
}

// Whether the host has every page of the view in memory.
bool resident(const BufferView& view) {
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> pages(ceil_div(view.bytes, page));
#if defined(__APPLE__)
  char* const vector = reinterpret_cast<char*>(pages.data());
#else
  unsigned char* const vector = pages.data();
#endif
  if (mincore(view.contents(), view.bytes, vector) != 0) return false;
  return std::all_of(pages.begin(), pages.end(), [](unsigned char p) { return (p & 1U) != 0; });
}

TEST_F(PoolCacheTest, WarmupTouchesEachSizeAndKeepsItCut) {
  MemoryPoolConfig config = pool_config(64);
  config.warmup_sizes = {8, 16};
  MemoryPool pool(device_, config);
  EXPECT_EQ(log_.count("[memory_pool.warmup]"), 0);
  Allocation other = pool.allocate(4 * kMiB, MemoryTag::kKv);
  EXPECT_FALSE(resident(other.view())) << "or the next expectations say nothing";
  Allocation eight = pool.allocate(8 * kMiB, MemoryTag::kKv);
  Allocation sixteen = pool.allocate(16 * kMiB, MemoryTag::kKv);
  EXPECT_TRUE(resident(eight.view()));
  EXPECT_TRUE(resident(sixteen.view()));
  EXPECT_TRUE(pool.check_integrity());
  const uint64_t offset = eight.view().offset;
  eight.reset();
  EXPECT_EQ(pool.allocate(8 * kMiB, MemoryTag::kKv).view().offset, offset) << "still cut";
  sixteen.reset();
  other.reset();
  EXPECT_TRUE(pool.check_integrity());
}

TEST_F(PoolCacheTest, WarmBlocksAreMergedWhenMemoryRunsShort) {
  MemoryPoolConfig config = pool_config(64);
  config.warmup_sizes = {8, 16};
  MemoryPool pool(device_, config);
  Allocation eight = pool.allocate(8 * kMiB, MemoryTag::kKv);
  Allocation rest = pool.allocate(56 * kMiB, MemoryTag::kKv);
  EXPECT_EQ(pool.statistics().fallback_allocations, 0U);
  EXPECT_EQ(pool.statistics().utilization, 1.0);
  EXPECT_TRUE(pool.check_integrity());
  eight.reset();
  rest.reset();
  EXPECT_TRUE(pool.allocate(64 * kMiB, MemoryTag::kKv));
  EXPECT_TRUE(pool.check_integrity());
}

TEST_F(PoolCacheTest, WarmupSkipsWhatHasNoRoomBesideTheOthers) {
  MemoryPoolConfig config = pool_config(8);
  config.warmup_sizes = {5, 4, 3};
  MemoryPool pool(device_, config);
  EXPECT_EQ(log_.count("[memory_pool.warmup] 4 MB skipped: no heap has so much left"), 1)
      << log_.text();
  EXPECT_EQ(log_.count("[memory_pool.warmup]"), 1);
}

TEST_F(PoolCacheTest, WithoutTrackingOnlyWhatIsLiveIsCounted) {
  MemoryPoolConfig config = pool_config(4);
  config.track_statistics = false;
  MemoryPool pool(device_, config);
  Allocation a = pool.allocate(2 * kMiB, MemoryTag::kKv);
  Allocation b = pool.allocate(512, MemoryTag::kOther);
  Allocation c = pool.allocate(4 * kMiB, MemoryTag::kKv);
  const PoolStatistics s = pool.statistics();
  EXPECT_EQ(s.total_allocations, 0U);
  EXPECT_EQ(s.fallback_allocations, 0U);
  EXPECT_EQ(s.exhaustion_count, 0U);
  EXPECT_EQ(s.largest_allocation_mb, 0.0);
  EXPECT_EQ(s.peak_bytes, 0U);
  EXPECT_EQ(s.hit_rate, 0.0);
  EXPECT_EQ(s.live_objects, 3U);
  EXPECT_EQ(s.live_bytes, 6 * kMiB + 512);
  EXPECT_EQ(s.on_demand_bytes, 4 * kMiB);
  EXPECT_EQ(s.tags[static_cast<uint32_t>(MemoryTag::kKv)].bytes, 6 * kMiB);
  EXPECT_EQ(log_.count(kExhausted), 1) << "log_exhaustion has its own switch";
  EXPECT_TRUE(pool.check_integrity());
}

// Each allocation holds its own number at both ends for as long as it lives.
void stamp(const Allocation& allocation, uint64_t value) {
  std::byte* data = allocation.view().contents();
  std::memcpy(data, &value, sizeof value);
  std::memcpy(data + allocation.view().bytes - sizeof value, &value, sizeof value);
}

bool stamped(const Allocation& allocation, uint64_t value) {
  const std::byte* data = allocation.view().contents();
  return std::memcmp(data, &value, sizeof value) == 0 &&
         std::memcmp(data + allocation.view().bytes - sizeof value, &value, sizeof value) == 0;
}

TEST_F(PoolCacheTest, EightThreadsPassBlocksAroundWhileThePoolGrowsAndTrims) {
  MemoryPool pool(device_, growing_config(16));
  auto steps = device_->new_timeline();
  std::mutex mutex;
  std::vector<std::pair<Allocation, uint64_t>> shared;  // freed by whoever comes
  std::atomic<uint64_t> step{0};
  std::vector<std::thread> threads;
  for (uint64_t id = 1; id <= 8; ++id) {
    threads.emplace_back([&, id] {
      std::mt19937_64 random(id);
      std::vector<std::pair<Allocation, uint64_t>> held;
      for (uint64_t i = 0; i < 1000; ++i) {
        const uint64_t bytes = 16 + random() % (random() % 8 == 0 ? 300 * kKiB : 8 * kKiB);
        Allocation one = pool.allocate(bytes, static_cast<MemoryTag>(id % 5));
        const uint64_t value = id << 32 | i;
        stamp(one, value);
        held.emplace_back(std::move(one), value);
        std::swap(held[random() % held.size()], held.back());
        ASSERT_TRUE(stamped(held.back().first, held.back().second));
        if (random() % 3 == 0) {
          const std::lock_guard lock(mutex);
          shared.push_back(std::move(held.back()));
          std::swap(shared[random() % shared.size()], shared.back());
          held.back() = std::move(shared.back());
          shared.pop_back();
          ASSERT_TRUE(stamped(held.back().first, held.back().second)) << "another thread's";
        }
        if (held.size() > 20) {
          if (random() % 4 == 0) {
            pool.free_after(std::move(held.back().first), {steps, step.load() + 1});
          }
          held.pop_back();
        }
        if (i % 40 == 0) steps->signal(++step);
        if (i % 97 == 0) pool.trim();
        if (i % 111 == 0) {
          EXPECT_TRUE(pool.check_integrity());
          EXPECT_GE(pool.statistics().live_objects, held.size());
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  shared.clear();
  pool.collect(true);
  const PoolStatistics s = pool.statistics();
  EXPECT_EQ(s.live_objects, 0U);
  EXPECT_EQ(s.live_bytes, 0U);
  EXPECT_EQ(s.total_allocations, 8000U);
  EXPECT_EQ(s.cached_bytes, 0U);
  pool.trim();
  EXPECT_EQ(device_->memory().live_bytes, 16 * kMiB);
  EXPECT_TRUE(pool.check_integrity());
}

}  // namespace
}  // namespace krserve::runtime
