#include "base/units.h"

#include <gtest/gtest.h>

namespace krserve {
namespace {

TEST(FormatBytes, PicksTheLargestUnitThatFits) {
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(1023), "1023 B");
  EXPECT_EQ(format_bytes(kKiB), "1.0 KiB");
  EXPECT_EQ(format_bytes(96 * kMiB), "96.0 MiB");
  EXPECT_EQ(format_bytes(kGiB - 1), "1024.0 MiB");
  EXPECT_EQ(format_bytes(kGiB * 3 / 2), "1.50 GiB");
  EXPECT_EQ(format_bytes(UINT64_MAX), "17179869184.00 GiB");
}

TEST(CeilDiv, RoundsUpOnlyWhenThereIsARest) {
  EXPECT_EQ(ceil_div(0, 4), 0);
  EXPECT_EQ(ceil_div(1, 4), 1);
  EXPECT_EQ(ceil_div(4, 4), 1);
  EXPECT_EQ(ceil_div(5, 4), 2);
}

TEST(AlignUp, ReturnsTheNextMultipleOfThePowerOfTwo) {
  EXPECT_EQ(align_up(0, 64), 0u);
  EXPECT_EQ(align_up(1, 64), 64u);
  EXPECT_EQ(align_up(64, 64), 64u);
  EXPECT_EQ(align_up(65, 64), 128u);
  EXPECT_EQ(align_up(7, 1), 7u);
}

TEST(NowNs, NeverGoesBack) {
  uint64_t last = now_ns();
  for (int i = 0; i < 1000; ++i) {
    const uint64_t next = now_ns();
    ASSERT_GE(next, last);
    last = next;
  }
}

}  // namespace
}  // namespace krserve
