#include "base/log_histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace krserve {
namespace {

TEST(LogHistogram, IsZeroWhenEmpty) {
  const LogHistogram histogram;
  EXPECT_EQ(histogram.count(), 0U);
  EXPECT_EQ(histogram.max(), 0U);
  EXPECT_EQ(histogram.quantile(0.5), 0U);
}

TEST(LogHistogram, SmallValuesAreExact) {
  LogHistogram histogram;
  for (uint64_t value = 0; value < 32; ++value) histogram.observe(value);
  EXPECT_EQ(histogram.quantile(0), 0U);
  EXPECT_EQ(histogram.quantile(0.5), 15U);
  EXPECT_EQ(histogram.quantile(1), 31U);
}

TEST(LogHistogram, OneValueIsEveryQuantile) {
  for (const uint64_t value :
       {uint64_t{0}, uint64_t{15}, uint64_t{16}, uint64_t{1000003}, UINT64_MAX - 1, UINT64_MAX}) {
    LogHistogram histogram;
    histogram.observe(value);
    for (const double q : {0.0, 0.5, 0.99, 1.0}) EXPECT_EQ(histogram.quantile(q), value);
    EXPECT_EQ(histogram.max(), value);
  }
}

TEST(LogHistogram, QuantilesAreWithinOneBucketOfTheExactOnes) {
  std::mt19937_64 random(7);
  LogHistogram histogram;
  std::vector<uint64_t> values;
  for (int i = 0; i < 20000; ++i) {
    const uint64_t value = random() >> (random() % 64);  // every order of magnitude
    values.push_back(value);
    histogram.observe(value);
  }
  std::sort(values.begin(), values.end());
  for (const double q : {0.0, 0.01, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 1.0}) {
    const uint64_t exact = values[static_cast<size_t>(q * static_cast<double>(values.size() - 1))];
    const uint64_t found = histogram.quantile(q);
    EXPECT_GE(found, exact) << "q = " << q;
    EXPECT_LE(static_cast<double>(found), static_cast<double>(exact) * (1.0 + 1.0 / 16) + 1);
  }
  EXPECT_EQ(histogram.count(), values.size());
  EXPECT_EQ(histogram.max(), values.back());
}

TEST(LogHistogram, AQuantileIsNeverAboveTheLargestValue) {
  LogHistogram histogram;
  histogram.observe(1000);
  histogram.observe(1001);
  EXPECT_EQ(histogram.quantile(1), 1001U);
}

}  // namespace
}  // namespace krserve
