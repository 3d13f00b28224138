#include "engine/kv_cache/kv_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "device/fake/fake_device.h"

namespace krserve::engine {
namespace {

ModelConfig small_model() {
  ModelConfig model;
  model.layers = 2;
  model.kv_heads = 2;
  model.head_dim = 8;
  return model;
}

KvCacheOptions options(uint64_t tokens, uint64_t segment_bytes = 1 << 20) {
  KvCacheOptions out;
  out.page_tokens = 16;
  out.total_tokens = tokens;
  out.max_segment_bytes = segment_bytes;
  return out;
}

class KvCacheTest : public ::testing::Test {
 protected:
  std::shared_ptr<FakeDevice> device_ = std::make_shared<FakeDevice>();
  runtime::DirectAllocator allocator_{device_};
};

TEST_F(KvCacheTest, BytesPerTokenCountsKeysAndValuesOfAllLayers) {
  EXPECT_EQ(kv_bytes_per_token(small_model(), ops::FloatType::kF16), 2U * 2 * 2 * 8 * 2);
  EXPECT_EQ(kv_bytes_per_token(small_model(), ops::FloatType::kF32), 2U * 2 * 2 * 8 * 4);
}

TEST_F(KvCacheTest, PartialPagesAreRoundedUp) {
  KvCache cache(small_model(), options(100), allocator_);
  EXPECT_EQ(cache.total_pages(), 7U);
  EXPECT_EQ(cache.pages_for(16), 1U);
  EXPECT_EQ(cache.pages_for(17), 2U);
}

TEST_F(KvCacheTest, SegmentsHoldAllPagesAndAreAtMostEight) {
  const uint64_t page_bytes = 16 * kv_bytes_per_token(small_model(), ops::FloatType::kF16);
  for (const uint64_t pages : {1, 3, 8, 9, 63, 64, 1000}) {
    KvCache cache(small_model(), options(pages * 16, 4 * page_bytes), allocator_);
    const uint64_t per_segment = uint64_t{1} << cache.layout().segment_shift;
    EXPECT_LE(cache.segments().size(), ops::kMaxKvSegments) << pages;
    uint64_t held = 0;
    for (const BufferView& segment : cache.segments()) held += segment.bytes / page_bytes;
    EXPECT_EQ(held, pages);
    EXPECT_GE(per_segment * cache.segments().size(), pages);
  }
}

TEST_F(KvCacheTest, GrowTakesOnlyWhatIsMissing) {
  KvCache cache(small_model(), options(64), allocator_);
  std::vector<uint32_t> pages;
  EXPECT_TRUE(cache.grow(pages, 17));
  EXPECT_EQ(pages.size(), 2U);
  EXPECT_TRUE(cache.grow(pages, 32));
  EXPECT_EQ(pages.size(), 2U);
  EXPECT_EQ(cache.used_pages(), 2U);
}

TEST_F(KvCacheTest, RefusedGrowTakesNothing) {
  KvCache cache(small_model(), options(64), allocator_);
  std::vector<uint32_t> a;
  std::vector<uint32_t> b;
  ASSERT_TRUE(cache.grow(a, 48));
  EXPECT_FALSE(cache.grow(b, 32));
  EXPECT_TRUE(b.empty());
  EXPECT_EQ(cache.free_pages(), 1U);
}

TEST_F(KvCacheTest, PagesAreNeverSharedAndComeBack) {
  KvCache cache(small_model(), options(256), allocator_);
  std::vector<uint32_t> a;
  std::vector<uint32_t> b;
  ASSERT_TRUE(cache.grow(a, 100));
  ASSERT_TRUE(cache.grow(b, 100));
  std::set<uint32_t> all(a.begin(), a.end());
  all.insert(b.begin(), b.end());
  EXPECT_EQ(all.size(), a.size() + b.size());
  EXPECT_TRUE(cache.check_integrity());
  cache.release(a);
  cache.release(b);
  EXPECT_EQ(cache.free_pages(), cache.total_pages());
  EXPECT_TRUE(cache.check_integrity());
}

TEST_F(KvCacheTest, QuarantinedPagesAreNotHandedOutEvenIfTheyWereFreeAlready) {
  KvCache cache(small_model(), options(64), allocator_);
  std::vector<uint32_t> finished;
  ASSERT_TRUE(cache.grow(finished, 32));
  const std::vector<uint32_t> written = finished;  // a hung step still has these
  cache.release(finished);
  cache.quarantine(written);
  EXPECT_EQ(cache.free_pages(), 2U);
  std::vector<uint32_t> other;
  EXPECT_FALSE(cache.grow(other, 48));
  ASSERT_TRUE(cache.grow(other, 32));
  for (const uint32_t page : written) {
    EXPECT_EQ(std::count(other.begin(), other.end(), page), 0) << page;
  }
  cache.lift_quarantine();
  EXPECT_EQ(cache.free_pages(), 2U);
  EXPECT_TRUE(cache.check_integrity());
}

TEST_F(KvCacheTest, ZeroTokensIsAConfigurationError) {
  EXPECT_THROW(KvCache(small_model(), options(0), allocator_), ConfigError);
}

}  // namespace
}  // namespace krserve::engine
