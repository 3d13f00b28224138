#include "model/formats/affine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace krserve {
namespace {

// One group of 32 in 4 bits.
struct Group {
  explicit Group(std::vector<float> values) {
    values.resize(32, values.back());
    quantize_row(values, {4, 32}, words, std::span(&scale, 1), std::span(&bias, 1));
  }
  uint32_t integer(size_t i) const { return (words[i / 8] >> (i % 8 * 4)) & 15u; }

  std::vector<uint32_t> words = std::vector<uint32_t>(4);
  float scale = 0;
  float bias = 0;
};

TEST(QuantizeRow, TheEdgeOfLargerMagnitudeIsExactAndZeroIsALevel) {
  const Group group({-2.0f, 0.0f, 1.0f});
  EXPECT_EQ(group.bias, -2.0f);
  EXPECT_EQ(group.scale, 0.2f);  // (1 + 2) / 15, and -2 is a multiple of it
  EXPECT_EQ(group.integer(0), 0u);
  EXPECT_EQ(group.integer(1), 10u);
  EXPECT_EQ(group.integer(2), 15u);
}

TEST(QuantizeRow, APositiveEdgeGetsANegativeScale) {
  const Group group({2.0f, 0.0f, -1.0f});
  EXPECT_EQ(group.bias, 2.0f);
  EXPECT_EQ(group.scale, -0.2f);
  EXPECT_EQ(group.integer(1), 10u);
}

TEST(QuantizeRow, TiesGoToTheEvenLevel) {
  // Edge 15, scale -1: 0.5, 1.5 and 2.5 lie between levels.
  const Group group({15.0f, 0.0f, 0.5f, 1.5f, 2.5f});
  EXPECT_EQ(group.scale, -1.0f);
  EXPECT_EQ(group.integer(2), 14u);  // 14.5
  EXPECT_EQ(group.integer(3), 14u);  // 13.5
  EXPECT_EQ(group.integer(4), 12u);  // 12.5
}

TEST(QuantizeRow, ZerosGetTheLeastScale) {
  const Group group({0.0f});
  EXPECT_EQ(group.scale, -1e-7f);
  EXPECT_EQ(group.bias, 0.0f);
  EXPECT_FALSE(std::signbit(group.bias));
  EXPECT_EQ(group.words, std::vector<uint32_t>(4));
}

TEST(QuantizeRow, EightBitsPackFourToAWord) {
  std::vector<float> values(64, 0.0f);
  values[1] = -255.0f;
  values[2] = -1.0f;
  std::vector<uint32_t> words(16);
  std::vector<float> scales(1), biases(1);
  quantize_row(values, {8, 64}, words, scales, biases);
  EXPECT_EQ(scales[0], 1.0f);
  EXPECT_EQ(biases[0], -255.0f);
  EXPECT_EQ(words[0], 0xFFFE00FFu);
}

}  // namespace
}  // namespace krserve
