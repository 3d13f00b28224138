#include "runtime/memory_pool/memory_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <new>
#include <random>
#include <thread>

#include "base/error.h"
#include "base/units.h"
#include "device/cpu/cpu_device.h"
#include "device/fake/fake_device.h"
#include "unit/runtime/log_capture.h"

namespace krserve::runtime {
namespace {

using ::testing::HasSubstr;

constexpr const char* kExhausted =
    "[WARN] [memory_pool.allocate] MetalMemoryPool exhausted, falling back to on-demand allocation";

MemoryPoolConfig small_pool(int64_t heaps = 1) {
  MemoryPoolConfig config;
  config.enabled = true;
  config.heap_size_mb = 1;
  config.num_heaps = heaps;
  config.warmup_sizes = {};
  return config;
}

class MemoryPoolTest : public ::testing::Test {
 protected:
  std::shared_ptr<FakeDevice> device_ = std::make_shared<FakeDevice>();
  LogCapture log_;
};

TEST_F(MemoryPoolTest, ItsStatisticsFollowAScript) {
  MemoryPool pool(device_, small_pool(2));
  PoolStatistics s = pool.statistics();
  EXPECT_TRUE(s.enabled);
  EXPECT_EQ(s.total_heaps, 2U);
  EXPECT_EQ(s.active_heaps, 0U);
  EXPECT_EQ(s.hit_rate, 0.0);
  EXPECT_EQ(s.heap_bytes, 2 * kMiB);
  EXPECT_EQ(s.device_allocations, 2U);

  std::vector<Allocation> held;
  for (int i = 0; i < 8; ++i) held.push_back(pool.allocate(256 * kKiB, MemoryTag::kKv));
  s = pool.statistics();
  EXPECT_EQ(s.total_allocations, 8U);
  EXPECT_EQ(s.fallback_allocations, 0U);
  EXPECT_EQ(s.hit_rate, 1.0);
  EXPECT_EQ(s.utilization, 1.0);
  EXPECT_EQ(s.active_heaps, 2U);
  EXPECT_EQ(s.largest_allocation_mb, 0.25);
  EXPECT_EQ(s.largest_free_block_bytes, 0U);
  EXPECT_EQ(s.fragmentation, 0.0);
  EXPECT_EQ(s.device_allocations, 2U) << "none since the heaps";

  held.push_back(pool.allocate(512 * kKiB, MemoryTag::kActivations));
  held.push_back(pool.allocate(10, MemoryTag::kOther));
  s = pool.statistics();
  EXPECT_EQ(s.total_allocations, 10U);
  EXPECT_EQ(s.fallback_allocations, 2U);
  EXPECT_EQ(s.hit_rate, 0.8);
  EXPECT_EQ(s.utilization, 1.0);
  EXPECT_EQ(s.exhaustion_count, 1U) << "one burst";
  EXPECT_EQ(s.device_allocations, 4U);
  EXPECT_EQ(s.live_objects, 10U);
  EXPECT_EQ(s.live_bytes, 2 * kMiB + 512 * kKiB + 10);
  EXPECT_EQ(s.largest_allocation_mb, 0.5);
  EXPECT_EQ(s.tags[static_cast<uint32_t>(MemoryTag::kKv)].objects, 8U);
  EXPECT_EQ(s.tags[static_cast<uint32_t>(MemoryTag::kActivations)].bytes, 512 * kKiB);

  held[1].reset();
  held[3].reset();
  held.resize(8);
  s = pool.statistics();
  EXPECT_EQ(s.utilization, 0.75);
  EXPECT_EQ(s.largest_free_block_bytes, 256 * kKiB);
  EXPECT_EQ(s.fragmentation, 0.5) << "the free half MiB is in two pieces";
  EXPECT_EQ(s.live_objects, 6U);
  EXPECT_EQ(s.peak_bytes, 2 * kMiB + 512 * kKiB + 10);
  EXPECT_TRUE(pool.check_integrity());

  pool.reset_statistics();
  s = pool.statistics();
  EXPECT_EQ(s.total_allocations, 0U);
  EXPECT_EQ(s.peak_bytes, s.live_bytes);
  EXPECT_EQ(s.device_allocations, 4U) << "ever";
}

TEST_F(MemoryPoolTest, ViewsAreAlignedExactAndApart) {
  MemoryPool pool(device_, small_pool());
  Allocation a = pool.allocate(1, MemoryTag::kOther);
  Allocation b = pool.allocate(65, MemoryTag::kOther);
  Allocation c = pool.allocate(64, MemoryTag::kOther);
  EXPECT_EQ(a.view().bytes, 1U);
  EXPECT_EQ(b.view().bytes, 65U);
  for (const Allocation* x : {&a, &b, &c}) {
    EXPECT_EQ(reinterpret_cast<uintptr_t>(x->view().contents()) % 64, 0U);
  }
  EXPECT_EQ(a.view().buffer, b.view().buffer);
  EXPECT_EQ(pool.statistics().live_bytes, 64U + 128U + 64U) << "with rounding";
}

TEST_F(MemoryPoolTest, FallbackLogsTheLineOncePerBurst) {
  MemoryPool pool(device_, small_pool());
  Allocation all = pool.allocate(kMiB, MemoryTag::kKv);
  Allocation one = pool.allocate(100, MemoryTag::kKv);
  Allocation two = pool.allocate(100, MemoryTag::kKv);
  EXPECT_EQ(log_.count(kExhausted), 1);
  EXPECT_THAT(log_.text(), HasSubstr("100 B asked"));
  all.reset();
  all = pool.allocate(kMiB, MemoryTag::kKv);  // the burst is over
  Allocation three = pool.allocate(100, MemoryTag::kKv);
  EXPECT_EQ(log_.count(kExhausted), 2);
  EXPECT_EQ(pool.statistics().exhaustion_count, 2U);
  EXPECT_NE(one.view().buffer, two.view().buffer) << "on demand: buffers of their own";
}

TEST_F(MemoryPoolTest, LogExhaustionOffIsSilentButCounted) {
  MemoryPoolConfig config = small_pool();
  config.log_exhaustion = false;
  MemoryPool pool(device_, config);
  Allocation big = pool.allocate(2 * kMiB, MemoryTag::kKv);
  EXPECT_EQ(log_.lines().size(), 0U);
  EXPECT_EQ(pool.statistics().exhaustion_count, 1U);
}

TEST_F(MemoryPoolTest, WarmupTouchesWhatFitsAndSkipsWhatIsLargerThanAHeap) {
  MemoryPoolConfig config = small_pool(2);
  config.heap_size_mb = 4;
  config.warmup_sizes = {1, 4, 5, 512, 0, -3};
  MemoryPool pool(device_, config);
  EXPECT_EQ(log_.count("[memory_pool.warmup]"), 4);
  EXPECT_EQ(log_.count("512 MB skipped: larger than a heap (4 MB)"), 1);
  const PoolStatistics s = pool.statistics();
  EXPECT_EQ(s.total_allocations, 0U) << "warming up is not use";
  EXPECT_EQ(s.live_objects, 0U);
  EXPECT_EQ(s.largest_free_block_bytes, 4 * kMiB);
  EXPECT_TRUE(pool.check_integrity());
}

TEST_F(MemoryPoolTest, AHeapThatCannotBeHadFailsTheCreationWithTheSeedsText) {
  device_->inject(FakeFault::kAllocation, 3);
  try {
    MemoryPool pool(device_, small_pool(4));
    FAIL() << "created";
  } catch (const OutOfMemoryError& error) {
    EXPECT_THAT(error.what(),
                HasSubstr("MetalMemoryPool: Failed to create MTLHeap (out of memory)"));
    EXPECT_THAT(error.what(), HasSubstr("heap 3 of 4"));
  }
  EXPECT_EQ(device_->memory().live_bytes, 0U) << "the first two are back";
}

TEST_F(MemoryPoolTest, SizesThatAreNotPositiveAreRefused) {
  MemoryPoolConfig config = small_pool();
  config.heap_size_mb = 0;
  EXPECT_THROW(MemoryPool(device_, config), ConfigError);
  config = small_pool(0);
  EXPECT_THROW(MemoryPool(device_, config), ConfigError);
}

TEST_F(MemoryPoolTest, TheLimitCountsHeapsOnDemandBuffersAndWhatIsReserved) {
  const MemoryLimit limit{2 * kMiB, 512 * kKiB};
  EXPECT_THROW(MemoryPool(device_, small_pool(2), limit), OutOfMemoryError);
  MemoryPool pool(device_, small_pool(1), limit);
  Allocation all = pool.allocate(kMiB, MemoryTag::kKv);
  Allocation half = pool.allocate(512 * kKiB, MemoryTag::kKv);
  try {
    pool.allocate(1, MemoryTag::kKv);
    FAIL() << "allowed";
  } catch (const OutOfMemoryError& error) {
    EXPECT_THAT(error.what(), HasSubstr("1 B refused: 2.0 MiB of 2.0 MiB in use"));
  }
  EXPECT_EQ(pool.statistics().total_allocations, 2U) << "a refusal is no allocation";
  EXPECT_EQ(pool.statistics().fallback_allocations, 1U);
  half.reset();
  EXPECT_TRUE(pool.allocate(1, MemoryTag::kKv));
  EXPECT_TRUE(pool.check_integrity());
}

TEST_F(MemoryPoolTest, ZeroBytesAreRefusedAndAreNoExhaustion) {
  MemoryPool pool(device_, small_pool());
  EXPECT_THROW(pool.allocate(0, MemoryTag::kKv), OutOfMemoryError);
  EXPECT_EQ(pool.statistics().exhaustion_count, 0U);
  EXPECT_EQ(log_.count(kExhausted), 0);
}

TEST_F(MemoryPoolTest, FreeAfterFreesOnlyWhenThePointIsReached) {
  MemoryPool pool(device_, small_pool());
  auto steps = device_->new_timeline();
  for (uint64_t step = 1; step <= 4; ++step) {
    pool.free_after(pool.allocate(256 * kKiB, MemoryTag::kActivations), {steps, step});
  }
  EXPECT_EQ(pool.statistics().utilization, 1.0);
  steps->signal(2);
  Allocation a = pool.allocate(512 * kKiB, MemoryTag::kActivations);
  EXPECT_EQ(pool.statistics().fallback_allocations, 0U) << "in the place of steps 1 and 2";
  Allocation b = pool.allocate(256 * kKiB, MemoryTag::kActivations);
  EXPECT_EQ(pool.statistics().fallback_allocations, 1U) << "3 and 4 are still in use";
  pool.collect(true);
  EXPECT_EQ(pool.statistics().live_objects, 2U);
}

TEST_F(MemoryPoolTest, WhatIsStillAllocatedAtTheEndIsReported) {
  // Never destroyed: the pool it belongs to is gone by then.
  alignas(Allocation) std::byte place[sizeof(Allocation)];
  {
    MemoryPool pool(device_, small_pool());
    new (place) Allocation(pool.allocate(64 * kKiB, MemoryTag::kKv));
    pool.free_after(pool.allocate(64, MemoryTag::kOther), {device_->new_timeline(), 1});
  }
  EXPECT_EQ(log_.count("still allocated at shutdown: kv: 1 objects, 64.0 KiB"), 1) << log_.text();
  {
    MemoryPool pool(device_, small_pool());
    pool.allocate(64, MemoryTag::kKv);
  }
  EXPECT_EQ(log_.count("still allocated"), 1);
}

TEST_F(MemoryPoolTest, EveryDeviceAllocationMayFail) {
  const auto script = [&](MemoryPool& pool) {
    std::vector<Allocation> held;
    for (const uint64_t kib : {600, 600, 900, 100, 1500, 64}) {
      held.push_back(pool.allocate(kib * kKiB, MemoryTag::kKv));
    }
  };
  uint64_t failures = 0;
  for (uint64_t nth = 1;; ++nth) {
    auto device = std::make_shared<FakeDevice>();
    device->inject(FakeFault::kAllocation, nth);
    bool failed = false;
    try {
      MemoryPool pool(device, small_pool(2));
      try {
        script(pool);
      } catch (const OutOfMemoryError&) {
        failed = true;
      }
      EXPECT_TRUE(pool.check_integrity());
      EXPECT_EQ(pool.statistics().live_objects, 0U);
      EXPECT_EQ(device->memory().live_bytes, 2 * kMiB) << "the heaps and nothing else";
      device->clear_faults();
      script(pool);
      EXPECT_TRUE(pool.check_integrity());
    } catch (const OutOfMemoryError&) {
      failed = true;
    }
    EXPECT_EQ(device->memory().live_bytes, 0U);
    if (!failed) break;
    ++failures;
  }
  EXPECT_EQ(failures, 4U) << "two heaps, two on demand";
  EXPECT_EQ(log_.count("still allocated"), 0);
}

void fill(const Allocation& allocation, uint8_t value) {
  std::memset(allocation.view().contents(), value, allocation.view().bytes);
}

bool holds(const Allocation& allocation, uint8_t value) {
  const std::byte* data = allocation.view().contents();
  for (uint64_t i = 0; i < allocation.view().bytes; ++i) {
    if (data[i] != std::byte{value}) return false;
  }
  return true;
}

TEST_F(MemoryPoolTest, EightThreadsAllocateAndFree) {
  auto device = make_cpu_device({.threads = 1, .simd_level = {}, .spin_us = 0});
  MemoryPool pool(device, small_pool(2));
  auto steps = device->new_timeline();
  std::atomic<uint64_t> step{0};
  std::vector<std::thread> threads;
  for (uint8_t id = 1; id <= 8; ++id) {
    threads.emplace_back([&, id] {
      std::mt19937 random(id);
      std::vector<std::pair<Allocation, uint8_t>> held;
      for (int i = 0; i < 1500; ++i) {
        if (held.size() < 12 && random() % 2) {
          Allocation one =
              pool.allocate(1 + random() % (30 * kKiB), static_cast<MemoryTag>(id % 5));
          const auto value = static_cast<uint8_t>(random());
          fill(one, value);
          held.emplace_back(std::move(one), value);
        } else if (!held.empty()) {
          const size_t at = random() % held.size();
          EXPECT_TRUE(holds(held[at].first, held[at].second));
          std::swap(held[at], held.back());
          if (random() % 4 == 0) {
            pool.free_after(std::move(held.back().first), {steps, step.load() + 1});
          }
          held.pop_back();
        }
        if (i % 50 == 0) steps->signal(++step);
        if (i % 100 == 0) {
          EXPECT_GE(pool.statistics().live_objects, held.size());
        }
      }
      for (const auto& [one, value] : held) EXPECT_TRUE(holds(one, value));
    });
  }
  for (std::thread& thread : threads) thread.join();
  pool.collect(true);
  const PoolStatistics s = pool.statistics();
  EXPECT_EQ(s.live_objects, 0U);
  EXPECT_EQ(s.live_bytes, 0U);
  EXPECT_EQ(s.largest_free_block_bytes, kMiB);
  EXPECT_TRUE(pool.check_integrity());
}

}  // namespace
}  // namespace krserve::runtime
