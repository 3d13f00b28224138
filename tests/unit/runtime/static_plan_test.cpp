#include "runtime/memory_pool/static_plan.h"

#include <gtest/gtest.h>

#include <random>

namespace krserve::runtime {
namespace {

void expect_valid(const StaticPlan& plan, uint64_t alignment) {
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    const PlannedTensor& a = plan.tensors[i];
    EXPECT_EQ(a.offset % alignment, 0U);
    EXPECT_LE(a.offset + a.bytes, plan.planned_bytes);
    for (size_t j = i + 1; j < plan.tensors.size(); ++j) {
      const PlannedTensor& b = plan.tensors[j];
      const bool together = a.first_use <= b.last_use && b.first_use <= a.last_use;
      const bool apart = a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset;
      EXPECT_TRUE(!together || apart) << a.name << " and " << b.name;
    }
  }
}

TEST(StaticPlan, NoTwoTensorsAliveTogetherOverlap) {
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    const uint64_t alignment = uint64_t{1} << (random() % 9);
    std::vector<PlannedTensor> tensors;
    const uint32_t count = 1 + random() % 40;
    for (uint32_t i = 0; i < count; ++i) {
      const uint32_t first = random() % 30;
      tensors.push_back({std::string("t").append(std::to_string(i)), 1 + random() % 5000, first,
                         first + static_cast<uint32_t>(random() % 10), 0});
    }
    const StaticPlan plan = plan_offsets(tensors, alignment);
    expect_valid(plan, alignment);
    EXPECT_LE(plan.planned_bytes, plan.naive_bytes);
    ASSERT_EQ(plan.tensors.size(), count);
    for (uint32_t i = 0; i < count; ++i) {
      EXPECT_EQ(plan.tensors[i].name, tensors[i].name) << "in the caller's order";
      EXPECT_EQ(plan.tensors[i].bytes, tensors[i].bytes);
    }
  }
}

TEST(StaticPlan, AChainNeedsTheTwoThatMeet) {
  std::vector<PlannedTensor> tensors;
  for (uint32_t i = 0; i < 24; ++i) tensors.push_back({"layer", 4096, i, i + 1, 0});
  const StaticPlan plan = plan_offsets(tensors, 64);
  EXPECT_EQ(plan.planned_bytes, 2U * 4096);
  EXPECT_EQ(plan.naive_bytes, 24U * 4096);
}

TEST(StaticPlan, AResidualStreamStaysBelowWhatComesAndGoes) {
  // The residual lives on; query, scores and hidden take turns above it: the peak is 100 + 300.
  const StaticPlan plan = plan_offsets({{"residual", 100, 0, 9, 0},
                                        {"query", 150, 1, 2, 0},
                                        {"scores", 150, 2, 3, 0},
                                        {"hidden", 300, 4, 5, 0}},
                                       1);
  expect_valid(plan, 1);
  EXPECT_EQ(plan.planned_bytes, 400U);
}

TEST(StaticPlan, LastUseAndFirstUseOfTheSameStageMeet) {
  const StaticPlan plan = plan_offsets({{"in", 64, 0, 1, 0}, {"out", 64, 1, 2, 0}}, 64);
  EXPECT_EQ(plan.planned_bytes, 128U);
  EXPECT_NE(plan.tensor("in").offset, plan.tensor("out").offset);
}

TEST(StaticPlan, NothingNeedsNothing) {
  const StaticPlan plan = plan_offsets({}, 256);
  EXPECT_EQ(plan.planned_bytes, 0U);
  EXPECT_EQ(plan.naive_bytes, 0U);
}

}  // namespace
}  // namespace krserve::runtime
