#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/units.h"
#include "device/fake/fake_device.h"
#include "runtime/memory_pool/adaptors.h"
#include "runtime/memory_pool/allocation_log.h"
#include "runtime/memory_pool/memory_pool.h"
#include "unit/runtime/log_capture.h"

namespace krserve::runtime {
namespace {

using ::testing::HasSubstr;

class AdaptorsTest : public ::testing::Test {
 protected:
  std::unique_ptr<Allocator> pool() {
    MemoryPoolConfig config;
    config.heap_size_mb = 4;
    config.num_heaps = 1;
    config.warmup_sizes = {};
    return std::make_unique<MemoryPool>(device_, config);
  }
  void TearDown() override { EXPECT_EQ(device_->memory().live_bytes, 0U); }

  std::shared_ptr<FakeDevice> device_ = std::make_shared<FakeDevice>();
  std::filesystem::path file_ =
      std::filesystem::temp_directory_path() /
      ("krserve_adaptors_" +
       std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
};

TEST_F(AdaptorsTest, TheLimitCountsWhatWasAskedForAndTakesFreesBack) {
  LimitingAllocator limited(pool(), 1000);
  Allocation a = limited.allocate(600, MemoryTag::kKv);
  try {
    limited.allocate(401, MemoryTag::kStaging);
    FAIL() << "allowed";
  } catch (const OutOfMemoryError& error) {
    EXPECT_THAT(error.what(), HasSubstr("401 B for staging refused: 600 B of 1000 B in use"));
  }
  EXPECT_THROW(limited.allocate(UINT64_MAX, MemoryTag::kKv), OutOfMemoryError);
  Allocation b = limited.allocate(400, MemoryTag::kStaging);
  EXPECT_EQ(limited.used_bytes(), 1000U);
  a.reset();
  EXPECT_EQ(limited.used_bytes(), 400U);
  EXPECT_EQ(limited.statistics().total_allocations, 2U) << "the pool saw no refused one";
  EXPECT_TRUE(limited.check_integrity());
}

TEST_F(AdaptorsTest, ARefusalBelowTakesNothingFromTheLimit) {
  LimitingAllocator limited(pool(), 100 * kMiB);
  device_->inject(FakeFault::kAllocation, 1);
  EXPECT_THROW(limited.allocate(8 * kMiB, MemoryTag::kKv), OutOfMemoryError);
  EXPECT_THROW(limited.allocate(0, MemoryTag::kKv), OutOfMemoryError);
  EXPECT_EQ(limited.used_bytes(), 0U);
}

TEST_F(AdaptorsTest, DeferredFreesGoThroughTheAdaptor) {
  auto steps = device_->new_timeline();
  LimitingAllocator limited(pool(), 100);
  limited.free_after(limited.allocate(100, MemoryTag::kKv), {steps, 1});
  EXPECT_THROW(limited.allocate(1, MemoryTag::kKv), OutOfMemoryError);
  steps->signal(1);
  EXPECT_TRUE(limited.allocate(100, MemoryTag::kKv)) << "looked at by the next allocation";
}

TEST_F(AdaptorsTest, CountingSeesOnlyWhatWentThroughIt) {
  CountingAllocator counting(pool());
  Allocation below = counting.inner().allocate(100, MemoryTag::kKv);
  Allocation a = counting.allocate(1000, MemoryTag::kWeights);
  Allocation b = counting.allocate(10, MemoryTag::kWeights);
  a.reset();
  const PoolStatistics s = counting.statistics();
  const TagStatistics& weights = s.tags[static_cast<uint32_t>(MemoryTag::kWeights)];
  EXPECT_EQ(weights.bytes, 10U);
  EXPECT_EQ(weights.objects, 1U);
  EXPECT_EQ(weights.peak_bytes, 1010U);
  EXPECT_EQ(s.live_objects, 1U);
  EXPECT_EQ(s.total_allocations, 2U);
  EXPECT_EQ(s.total_heaps, 1U) << "the pool's";
  EXPECT_EQ(counting.inner().statistics().live_objects, 2U);
  EXPECT_TRUE(counting.check_integrity());
  counting.reset_statistics();
  EXPECT_EQ(counting.statistics().peak_bytes, 10U);
}

TEST_F(AdaptorsTest, TheyStackInAnyOrder) {
  auto counting =
      std::make_unique<CountingAllocator>(std::make_unique<LimitingAllocator>(pool(), 2 * kMiB));
  CountingAllocator& counts = *counting;
  LoggingAllocator all(std::move(counting), file_);
  {
    std::vector<Allocation> held;
    for (int i = 0; i < 20; ++i) {
      held.push_back(all.allocate(100 * kKiB, static_cast<MemoryTag>(i % 5)));
    }
    EXPECT_THROW(all.allocate(100 * kKiB, MemoryTag::kKv), OutOfMemoryError);
    EXPECT_EQ(counts.statistics().live_objects, 20U);
    Allocation moved = std::move(held[3]);
  }
  EXPECT_EQ(counts.statistics().live_objects, 0U);
  EXPECT_EQ(all.statistics().total_allocations, 20U);
  all.flush();
  EXPECT_EQ(read_allocation_log(file_).size(), 40U);
  EXPECT_TRUE(all.check_integrity());
  all.trim();
  std::filesystem::remove(file_);
}

TEST_F(AdaptorsTest, TheLogHoldsEveryEventInOrder) {
  {
    LoggingAllocator logging(pool(), file_);
    Allocation a = logging.allocate(1000, MemoryTag::kKv);
    std::thread([&] {
      Allocation b = logging.allocate(6 * kMiB, MemoryTag::kActivations);
      a.reset();
    }).join();
    Allocation c = logging.allocate(7, MemoryTag::kOther);
    EXPECT_THROW(logging.allocate(0, MemoryTag::kOther), OutOfMemoryError);
  }
  const std::vector<AllocationEvent> events = read_allocation_log(file_);
  ASSERT_EQ(events.size(), 6U);
  const auto expect = [&](size_t i, bool allocates, uint64_t id, uint32_t thread) {
    EXPECT_EQ(events[i].allocates, allocates) << i;
    EXPECT_EQ(events[i].id, id) << i;
    EXPECT_EQ(events[i].thread, thread) << i;
    EXPECT_GE(events[i].time_us, events[i > 0 ? i - 1 : 0].time_us);
  };
  expect(0, true, 0, 0);
  expect(1, true, 1, 1);
  expect(2, false, 0, 1);
  expect(3, false, 1, 1);
  expect(4, true, 2, 0);
  expect(5, false, 2, 0);
  EXPECT_EQ(events[0].bytes, 1000U);
  EXPECT_EQ(events[0].tag, MemoryTag::kKv);
  EXPECT_EQ(events[1].bytes, 6 * kMiB);
  EXPECT_EQ(events[1].tag, MemoryTag::kActivations);
  EXPECT_EQ(events[4].bytes, 7U);
  std::filesystem::remove(file_);
}

TEST_F(AdaptorsTest, ALogThatCannotBeWrittenIsAConfigurationError) {
  EXPECT_THROW(LoggingAllocator(pool(), "/nonexistent/folder/log"), ConfigError);
}

TEST_F(AdaptorsTest, DamagedLogsAreRefusedWithTheLine) {
  const auto refusal = [&](const std::string& body) {
    std::ofstream(file_) << body;
    try {
      read_allocation_log(file_);
      return std::string();
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
  };
  const std::string head = "# krserve allocation log 1\n";
  EXPECT_EQ(refusal(head + "# a comment\n+,0,10,kv,0,5\n-,0,0,6\n"), "");
  EXPECT_THAT(refusal(""), HasSubstr("does not begin with"));
  EXPECT_THAT(refusal("+,0,10,kv,0,5\n"), HasSubstr("does not begin with"));
  for (const char* bad : {"+,1,10,kv,0,5", "+,0,0,kv,0,5", "+,0,10,rubbish,0,5", "+,0,10,kv,0",
                          "+,0,10,kv,0,5,6", "+,0,ten,kv,0,5", "-,0,0,6", "*,0,0,6",
                          "+,0,10,kv,0,5\n-,0,0,6\n-,0,0,7", "+,-1,1,kv,0,0"}) {
    EXPECT_THAT(refusal(head + bad + "\n"), HasSubstr("is no event of this log")) << bad;
  }
  EXPECT_THAT(refusal(head + "+,0,10,kv,0,5\nx\n"), HasSubstr(":3: 'x'"));
  std::filesystem::remove(file_);
}

TEST_F(AdaptorsTest, EightThreadsThroughAStack) {
  LogCapture log;
  LimitingAllocator all(std::make_unique<CountingAllocator>(pool()), 3 * kMiB);
  std::vector<std::thread> threads;
  for (uint32_t id = 0; id < 8; ++id) {
    threads.emplace_back([&, id] {
      std::vector<Allocation> held;
      for (uint64_t i = 0; i < 400; ++i) {
        try {
          held.push_back(all.allocate(1 + (i * 7919 + id) % 40000, static_cast<MemoryTag>(i % 5)));
        } catch (const OutOfMemoryError&) {
          held.clear();
        }
        if (i % 3 == 0 && !held.empty()) held.erase(held.begin());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(all.used_bytes(), 0U);
  EXPECT_EQ(all.statistics().live_objects, 0U);
  EXPECT_TRUE(all.check_integrity());
}

}  // namespace
}  // namespace krserve::runtime
