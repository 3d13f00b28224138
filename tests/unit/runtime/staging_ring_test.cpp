#include "runtime/blit_queue/staging_ring.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>

#include "base/units.h"

namespace krserve::runtime {
namespace {

struct Region {
  uint64_t begin;
  uint64_t end;
};

TEST(StagingRing, RegionsInUseNeverOverlapHoweverItWraps) {
  for (const uint64_t capacity :
       {uint64_t{64}, uint64_t{1024}, uint64_t{4096}, uint64_t{1} << 20}) {
    std::mt19937_64 random(capacity);
    StagingRing ring(capacity, 64);
    std::deque<Region> taken;
    uint64_t refused = 0;
    uint64_t wraps = 0;
    for (int i = 0; i < 20000; ++i) {
      const uint64_t action = random() % 20;
      if (action < 11) {
        const uint64_t bytes = 1 + random() % (random() % 8 ? capacity / 4 : capacity);
        const auto offset = ring.take(bytes);
        if (!offset) {
          ++refused;
          ASSERT_FALSE(taken.empty()) << "an empty ring takes anything up to its capacity";
          continue;
        }
        const Region region{*offset, *offset + align_up(bytes, 64)};
        ASSERT_EQ(region.begin % 64, 0U);
        ASSERT_LE(region.end, capacity);
        for (const Region& other : taken) {
          ASSERT_TRUE(region.end <= other.begin || other.end <= region.begin);
        }
        wraps += !taken.empty() && region.begin < taken.back().begin ? 1 : 0;
        taken.push_back(region);
      } else if (action < 12 && !taken.empty()) {
        ring.give_back(taken.back().begin);
        taken.pop_back();
      } else if (!taken.empty()) {
        ring.give_back(taken.front().begin);
        taken.pop_front();
      }
      ASSERT_EQ(ring.empty(), taken.empty());
    }
    EXPECT_GT(refused, 0U);
    if (capacity > 64) {
      EXPECT_GT(wraps, 0U) << "the test went round";
    }
  }
}

TEST(StagingRing, FillsToTheLastByteAndStartsAnew) {
  StagingRing ring(256, 64);
  for (uint64_t i = 0; i < 4; ++i) EXPECT_EQ(ring.take(64), i * 64);
  EXPECT_EQ(ring.take(1), std::nullopt);
  ring.give_back(0);
  EXPECT_EQ(ring.take(64), 0U);
  EXPECT_EQ(ring.take(1), std::nullopt);
  for (const uint64_t begin : {64, 128, 192, 0}) ring.give_back(begin);
  EXPECT_TRUE(ring.empty());
  EXPECT_EQ(ring.take(256), 0U);
}

TEST(StagingRing, ARegionIsNeverSplitAtTheEnd) {
  StagingRing ring(256, 64);
  ring.take(128);
  ring.take(64);
  ring.give_back(0);
  EXPECT_EQ(ring.take(128), 0U) << "64 at the end are not enough";
}

TEST(StagingRing, MoreThanTheCapacityIsRefused) {
  StagingRing ring(256, 64);
  EXPECT_EQ(ring.take(257), std::nullopt);
  EXPECT_TRUE(ring.empty());
}

TEST(StagingRing, ARefusedTransferTakesItsRegionBack) {
  StagingRing ring(256, 64);
  EXPECT_EQ(ring.take(64), 0U);
  EXPECT_EQ(ring.take(64), 64U);
  ring.give_back(64);
  EXPECT_EQ(ring.take(192), 64U);
}

// Threads fill their regions at their own speed.
TEST(StagingRing, ARegionGivenBackEarlyIsFreeWhenTheOlderOnesAre) {
  StagingRing ring(256, 64);
  for (uint64_t i = 0; i < 4; ++i) EXPECT_EQ(ring.take(64), i * 64);
  ring.give_back(64);
  ring.give_back(128);
  EXPECT_EQ(ring.take(64), std::nullopt) << "the oldest is still in use";
  ring.give_back(0);
  EXPECT_EQ(ring.take(192), 0U);
}

}  // namespace
}  // namespace krserve::runtime
