#include "runtime/memory_pool/page_pool.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "base/error.h"
#include "device/fake/fake_device.h"

namespace krserve::runtime {
namespace {

class PagePoolTest : public ::testing::Test {
 protected:
  std::shared_ptr<FakeDevice> device_ = std::make_shared<FakeDevice>();
  DirectAllocator allocator_{device_};
};

TEST_F(PagePoolTest, SegmentsAreContiguousAndTheLastMayBeShorter) {
  PagePool pool(allocator_, MemoryTag::kKv, 256, 10, 4);
  ASSERT_EQ(pool.segments().size(), 3U);
  EXPECT_EQ(pool.segments()[0].bytes, 4U * 256);
  EXPECT_EQ(pool.segments()[2].bytes, 2U * 256);
  EXPECT_EQ(pool.bytes(), 2560U);
  EXPECT_EQ(device_->memory().live_bytes, 2560U);
  EXPECT_EQ(allocator_.statistics().tags[static_cast<uint32_t>(MemoryTag::kKv)].objects, 3U);
  PagePool one(allocator_, MemoryTag::kKv, 256, 10, 10);
  EXPECT_EQ(one.segments().size(), 1U) << "one block";
}

TEST_F(PagePoolTest, PagesAreDistinctAndTheLastUsedIsTakenFirst) {
  PagePool pool(allocator_, MemoryTag::kKv, 64, 8, 8);
  std::vector<uint32_t> a;
  std::vector<uint32_t> b;
  ASSERT_TRUE(pool.take(a, 3));
  EXPECT_EQ(a, (std::vector<uint32_t>{0, 1, 2}));
  ASSERT_TRUE(pool.take(b, 5));
  EXPECT_FALSE(pool.take(b, 1));
  EXPECT_EQ(b.size(), 5U);
  EXPECT_EQ(pool.free(), 0U);
  const std::vector<uint32_t> was = a;
  pool.give_back(a);
  EXPECT_TRUE(a.empty());
  EXPECT_FALSE(pool.take(a, 4)) << "three are free";
  EXPECT_TRUE(a.empty()) << "and none was taken";
  ASSERT_TRUE(pool.take(a, 3));
  EXPECT_EQ(a, was);
  EXPECT_TRUE(pool.check_integrity());
}

TEST_F(PagePoolTest, QuarantinedPagesStayOutOfUseTakenOrFree) {
  PagePool pool(allocator_, MemoryTag::kKv, 64, 6, 6);
  std::vector<uint32_t> taken;
  ASSERT_TRUE(pool.take(taken, 2));  // 0, 1
  pool.quarantine({0, 1, 2, 3});     // 2 and 3 are free: finished meanwhile
  EXPECT_EQ(pool.free(), 2U);
  EXPECT_TRUE(pool.check_integrity());
  pool.give_back(taken);
  EXPECT_EQ(pool.free(), 2U) << "held back";
  std::vector<uint32_t> other;
  EXPECT_FALSE(pool.take(other, 3));
  ASSERT_TRUE(pool.take(other, 2));
  EXPECT_EQ(std::set<uint32_t>(other.begin(), other.end()), (std::set<uint32_t>{4, 5}));
  EXPECT_TRUE(pool.check_integrity());
  pool.lift_quarantine();
  EXPECT_EQ(pool.free(), 4U);
  pool.give_back(other);
  EXPECT_EQ(pool.free(), 6U);
  EXPECT_TRUE(pool.check_integrity());
}

TEST_F(PagePoolTest, APageQuarantinedAndLiftedWhileTakenIsStillTaken) {
  PagePool pool(allocator_, MemoryTag::kKv, 64, 2, 2);
  std::vector<uint32_t> taken;
  ASSERT_TRUE(pool.take(taken, 1));
  pool.quarantine(taken);
  pool.lift_quarantine();
  EXPECT_EQ(pool.free(), 1U);
  pool.give_back(taken);
  EXPECT_EQ(pool.free(), 2U);
  EXPECT_TRUE(pool.check_integrity());
}

TEST_F(PagePoolTest, AgreesWithASetOverManyOperations) {
  PagePool pool(allocator_, MemoryTag::kKv, 64, 100, 32);
  std::mt19937 random(5);
  std::vector<std::vector<uint32_t>> owners(10);
  std::set<uint32_t> taken;
  for (int i = 0; i < 5000; ++i) {
    std::vector<uint32_t>& owner = owners[random() % owners.size()];
    if (random() % 3 != 0) {
      const size_t before = owner.size();
      const size_t count = random() % 20;
      const bool fits = count <= 100 - taken.size();
      ASSERT_EQ(pool.take(owner, count), fits);
      for (size_t n = before; n < owner.size(); ++n) ASSERT_TRUE(taken.insert(owner[n]).second);
    } else {
      for (const uint32_t page : owner) taken.erase(page);
      pool.give_back(owner);
    }
    ASSERT_EQ(pool.free(), 100 - taken.size());
  }
  EXPECT_TRUE(pool.check_integrity());
}

TEST_F(PagePoolTest, AnAllocationThatFailsLeavesNothing) {
  device_->inject(FakeFault::kAllocation, 2);
  EXPECT_THROW(PagePool(allocator_, MemoryTag::kKv, 64, 10, 4), OutOfMemoryError);
  EXPECT_EQ(device_->memory().live_bytes, 0U);
}

}  // namespace
}  // namespace krserve::runtime
