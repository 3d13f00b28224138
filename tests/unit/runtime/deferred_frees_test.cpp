#include "runtime/memory_pool/deferred_frees.h"

#include <gtest/gtest.h>

#include <thread>

#include "device/fake/fake_device.h"
#include "runtime/memory_pool/allocator.h"

namespace krserve::runtime {
namespace {

class DeferredFreesTest : public ::testing::Test {
 protected:
  Allocation bytes(uint64_t count) { return allocator_.allocate(count, MemoryTag::kOther); }
  uint64_t live() const { return device_->memory().live_bytes; }

  std::shared_ptr<FakeDevice> device_ = std::make_shared<FakeDevice>();
  DirectAllocator allocator_{device_};
  DeferredFrees frees_;
};

TEST_F(DeferredFreesTest, EachTimelineFreesInOrderOfItsValues) {
  auto a = device_->new_timeline();
  auto b = device_->new_timeline();
  frees_.add(bytes(1), {a, 1});
  frees_.add(bytes(1000), {a, 3});
  frees_.add(bytes(100), {a, 2});  // out of order
  frees_.add(bytes(10000), {b, 1});
  EXPECT_TRUE(frees_.pending());
  frees_.free_due(false);
  EXPECT_EQ(live(), 11101U);
  a->signal(2);
  frees_.free_due(false);
  EXPECT_EQ(live(), 11000U);
  b->signal(5);
  frees_.free_due(false);
  EXPECT_EQ(live(), 1000U);
  a->signal(3);
  frees_.free_due(false);
  EXPECT_EQ(live(), 0U);
  EXPECT_FALSE(frees_.pending());
}

TEST_F(DeferredFreesTest, ALookWithNothingDueReadsEachTimelineOnce) {
  // Counts reads; everything else is the fake device's.
  class CountingTimeline final : public Timeline {
   public:
    uint64_t value() const override {
      ++reads;
      return 0;
    }
    void signal(uint64_t) override {}
    WaitResult wait(uint64_t, std::chrono::nanoseconds) override { return WaitResult::kTimeout; }
    void poison(const std::string&) override {}
    std::optional<std::string> error() const override { return std::nullopt; }
    mutable int reads = 0;
  };
  auto timeline = std::make_shared<CountingTimeline>();
  for (uint64_t i = 1; i <= 500; ++i) frees_.add(bytes(1), {timeline, i});
  timeline->reads = 0;
  frees_.free_due(false);
  EXPECT_EQ(timeline->reads, 1) << "however many wait for it";
  frees_.free_due(true);
  EXPECT_EQ(live(), 0U);
}

TEST_F(DeferredFreesTest, MoreThanABatchGoesInOneCall) {
  auto timeline = device_->new_timeline();
  for (uint64_t i = 1; i <= 100; ++i) frees_.add(bytes(1), {timeline, i});
  timeline->signal(99);
  frees_.free_due(false);
  EXPECT_EQ(live(), 1U);
  frees_.free_due(true);
  EXPECT_EQ(live(), 0U);
}

TEST_F(DeferredFreesTest, APoisonedTimelineKeepsWhatItWasNotReachedFor) {
  auto timeline = device_->new_timeline();
  frees_.add(bytes(1), {timeline, 1});
  frees_.add(bytes(10), {timeline, 2});
  timeline->signal(1);
  timeline->poison("lost");
  timeline->signal(2);
  frees_.free_due(false);
  EXPECT_EQ(live(), 10U);
  frees_.free_due(true);
  EXPECT_EQ(live(), 0U);
}

TEST_F(DeferredFreesTest, ThreadsAddAndFreeTogether) {
  auto timeline = device_->new_timeline();
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t i = 1; i <= 200; ++i) {
        frees_.add(bytes(1), {timeline, i});
        if (t == 0) timeline->signal(i / 2);
        if (i % 7 == 0) frees_.free_due(false);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  timeline->signal(200);
  frees_.free_due(false);
  EXPECT_EQ(live(), 0U);
  EXPECT_FALSE(frees_.pending());
}

}  // namespace
}  // namespace krserve::runtime
