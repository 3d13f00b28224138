#include "cli/bench/interval.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace krserve::cli {
namespace {

TEST(BootstrapMedian, LiesBetweenTheSmallestAndTheLargestValue) {
  const Interval i = bootstrap_median({5, 1, 4, 2, 3});
  EXPECT_EQ(i.median, 3);
  EXPECT_GE(i.low, 1);
  EXPECT_LT(i.low, 3);
  EXPECT_GT(i.high, 3);
  EXPECT_LE(i.high, 5);
}

TEST(BootstrapMedian, OfEqualValuesHasNoWidth) {
  const Interval i = bootstrap_median({7, 7, 7, 7, 7});
  EXPECT_EQ(i.low, 7);
  EXPECT_EQ(i.high, 7);
}

TEST(BootstrapMedian, OfOneOrTwoValues) {
  EXPECT_EQ(bootstrap_median({4}).median, 4);
  EXPECT_EQ(bootstrap_median({4, 6}).median, 5);
}

TEST(BootstrapMedian, IsTheSameEveryTime) {
  const Interval a = bootstrap_median({5, 1, 4, 2, 3, 9});
  const Interval b = bootstrap_median({5, 1, 4, 2, 3, 9});
  EXPECT_EQ(a.low, b.low);
  EXPECT_EQ(a.high, b.high);
}

// Of 200 samples of 15 from a distribution with median 0, about 95 % should have it inside.
TEST(BootstrapMedian, CoversTheTrueMedianAboutAsOftenAsItSays) {
  std::mt19937_64 generator(7);
  int covered = 0;
  for (int trial = 0; trial < 200; ++trial) {
    std::vector<double> values;
    for (int i = 0; i < 15; ++i) {
      const double u = static_cast<double>(generator() >> 11) * 0x1p-53;
      values.push_back(std::log(u / (1 - u)));  // logistic
    }
    const Interval interval = bootstrap_median(values);
    covered += interval.low <= 0 && 0 <= interval.high ? 1 : 0;
  }
  EXPECT_GE(covered, 180);
  EXPECT_LT(covered, 200);
}

TEST(PairedChanges, AreOfTheSameRound) {
  const auto changes = paired_changes({110, 90, 5}, {100, 100, 0});
  ASSERT_EQ(changes.size(), 3U);
  EXPECT_NEAR(changes[0], 0.1, 1e-12);
  EXPECT_NEAR(changes[1], -0.1, 1e-12);
  EXPECT_EQ(changes[2], 0) << "no base to compare with";
}

}  // namespace
}  // namespace krserve::cli
