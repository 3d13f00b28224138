#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "device/fake/fake_device.h"
#include "runtime/memory_pool/allocator.h"

namespace krserve::runtime {
namespace {

using ::testing::HasSubstr;

class DirectAllocatorTest : public ::testing::Test {
 protected:
  std::shared_ptr<FakeDevice> device_ = std::make_shared<FakeDevice>();
  DirectAllocator allocator_{device_};
};

TEST_F(DirectAllocatorTest, EveryAllocationIsADeviceBuffer) {
  Allocation a = allocator_.allocate(1000, MemoryTag::kKv);
  Allocation b = allocator_.allocate(24, MemoryTag::kOther);
  EXPECT_EQ(a.view().bytes, 1000U);
  EXPECT_EQ(a.tag(), MemoryTag::kKv);
  EXPECT_NE(a.view().buffer, b.view().buffer);
  EXPECT_EQ(device_->memory().live_bytes, 1024U);
  const PoolStatistics statistics = allocator_.statistics();
  EXPECT_FALSE(statistics.enabled);
  EXPECT_EQ(statistics.total_allocations, 2U);
  EXPECT_EQ(statistics.device_allocations, 2U);
  EXPECT_EQ(statistics.live_objects, 2U);
  EXPECT_EQ(statistics.tags[static_cast<uint32_t>(MemoryTag::kKv)].bytes, 1000U);
  b.reset();
  EXPECT_EQ(device_->memory().live_bytes, 1000U);
  a = {};
  EXPECT_EQ(device_->memory().live_bytes, 0U);
  EXPECT_EQ(allocator_.statistics().live_objects, 0U);
  EXPECT_EQ(allocator_.statistics().peak_bytes, 1024U);
  EXPECT_TRUE(allocator_.check_integrity());
}

TEST_F(DirectAllocatorTest, AMovedFromAllocationIsEmpty) {
  Allocation a = allocator_.allocate(100, MemoryTag::kKv);
  Allocation b = std::move(a);
  EXPECT_FALSE(a);  // NOLINT(bugprone-use-after-move): that is the point
  EXPECT_EQ(a.view().buffer, nullptr);
  EXPECT_TRUE(b);
  a.reset();
  EXPECT_EQ(allocator_.statistics().live_objects, 1U);
  Allocation c = allocator_.allocate(50, MemoryTag::kKv);
  c = std::move(b);
  EXPECT_EQ(c.view().bytes, 100U);
  EXPECT_EQ(allocator_.statistics().live_bytes, 100U) << "the 50 were given back";
  Allocation& self = c;
  c = std::move(self);
  EXPECT_EQ(c.view().bytes, 100U);
  c.reset();
  c.reset();
  EXPECT_EQ(allocator_.statistics().live_objects, 0U);
}

TEST_F(DirectAllocatorTest, ZeroBytesAreRefused) {
  EXPECT_THROW(allocator_.allocate(0, MemoryTag::kOther), OutOfMemoryError);
  EXPECT_EQ(allocator_.statistics().total_allocations, 0U);
}

TEST_F(DirectAllocatorTest, FreeAfterFreesWhenThePointIsReached) {
  auto steps = device_->new_timeline();
  allocator_.free_after(allocator_.allocate(100, MemoryTag::kKv), {steps, 2});
  allocator_.free_after(allocator_.allocate(10, MemoryTag::kKv), {steps, 1});
  allocator_.collect();
  EXPECT_EQ(device_->memory().live_bytes, 110U);
  steps->signal(1);
  allocator_.collect();
  EXPECT_EQ(device_->memory().live_bytes, 100U);
  steps->signal(2);
  EXPECT_EQ(device_->memory().live_bytes, 100U) << "looked at by the next call";
  Allocation other = allocator_.allocate(7, MemoryTag::kKv);
  EXPECT_EQ(device_->memory().live_bytes, 7U);
  allocator_.free_after(std::move(other), {steps, 1});
  EXPECT_EQ(device_->memory().live_bytes, 0U) << "reached before: at once";
  allocator_.free_after({}, {steps, 99});
  allocator_.free_after(allocator_.allocate(5, MemoryTag::kKv), {});
  EXPECT_EQ(device_->memory().live_bytes, 0U);
}

TEST_F(DirectAllocatorTest, APoisonedPointFreesOnlyWithAll) {
  auto steps = device_->new_timeline();
  allocator_.free_after(allocator_.allocate(100, MemoryTag::kKv), {steps, 2});
  steps->poison("lost");
  allocator_.collect();
  EXPECT_EQ(device_->memory().live_bytes, 100U);
  allocator_.collect(true);
  EXPECT_EQ(device_->memory().live_bytes, 0U);
}

TEST_F(DirectAllocatorTest, WhatWasDeferredGoesWithTheAllocator) {
  auto steps = device_->new_timeline();
  {
    DirectAllocator other(device_);
    other.free_after(other.allocate(100, MemoryTag::kKv), {steps, 2});
  }
  EXPECT_EQ(device_->memory().live_bytes, 0U);
}

TEST_F(DirectAllocatorTest, TheLimitRefusesWithTheNumbers) {
  DirectAllocator limited(device_, {4096, 1024});
  Allocation a = limited.allocate(2048, MemoryTag::kKv);
  try {
    limited.allocate(1025, MemoryTag::kKv);
    FAIL() << "allowed";
  } catch (const OutOfMemoryError& error) {
    EXPECT_THAT(error.what(), HasSubstr("refused: 3.0 KiB of 4.0 KiB in use"));
    EXPECT_THAT(error.what(), HasSubstr("memory.limit_mb"));
  }
  EXPECT_THROW(limited.allocate(UINT64_MAX, MemoryTag::kKv), OutOfMemoryError);
  EXPECT_EQ(limited.statistics().total_allocations, 1U);
  Allocation b = limited.allocate(1024, MemoryTag::kKv);
  EXPECT_TRUE(limited.check_integrity());
}

TEST_F(DirectAllocatorTest, ThreadsTogetherStayBelowTheLimit) {
  for (int round = 0; round < 20; ++round) {
    DirectAllocator limited(device_, {400, 0});
    std::vector<Allocation> held(8);
    std::vector<std::thread> threads;
    for (Allocation& mine : held) {
      threads.emplace_back([&] {
        try {
          mine = limited.allocate(100, MemoryTag::kOther);
        } catch (const OutOfMemoryError&) {
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(std::count_if(held.begin(), held.end(), [](const Allocation& a) { return bool(a); }),
              4);
  }
}

TEST_F(DirectAllocatorTest, ResetStatisticsKeepsWhatIsLive) {
  Allocation a = allocator_.allocate(1000, MemoryTag::kKv);
  allocator_.allocate(5000, MemoryTag::kKv);
  allocator_.reset_statistics();
  const PoolStatistics statistics = allocator_.statistics();
  EXPECT_EQ(statistics.total_allocations, 0U);
  EXPECT_EQ(statistics.live_bytes, 1000U);
  EXPECT_EQ(statistics.peak_bytes, 1000U);
}

}  // namespace
}  // namespace krserve::runtime
