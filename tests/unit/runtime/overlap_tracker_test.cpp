#include "runtime/blit_queue/overlap_tracker.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace krserve::runtime {
namespace {

TEST(OverlapTracker, IsZeroWithoutCopies) {
  OverlapTracker tracker;
  EXPECT_EQ(tracker.ratio(), 0.0);
  tracker.add_compute({0, 100});
  EXPECT_EQ(tracker.ratio(), 0.0);
}

TEST(OverlapTracker, ACopyBesideComputeCountsAll) {
  OverlapTracker tracker;
  tracker.add_compute({100, 200});
  tracker.add_copy({120, 180});
  EXPECT_EQ(tracker.ratio(), 1.0);
}

TEST(OverlapTracker, ACopyHalfBesideComputeCountsHalf) {
  OverlapTracker tracker;
  tracker.add_compute({100, 200});
  tracker.add_copy({150, 250});
  EXPECT_EQ(tracker.ratio(), 0.5);
}

TEST(OverlapTracker, ACopyBetweenStepsCountsNothing) {
  OverlapTracker tracker;
  tracker.add_compute({100, 200});
  tracker.add_compute({300, 400});
  tracker.add_copy({200, 300});
  EXPECT_EQ(tracker.ratio(), 0.0);
  EXPECT_EQ(tracker.copy_ns(), 100U);
}

TEST(OverlapTracker, ComputeMayBeReportedAfterTheCopyItMet) {
  OverlapTracker tracker;
  tracker.add_copy({150, 250});
  EXPECT_EQ(tracker.ratio(), 0.0);
  tracker.add_compute({100, 200});
  EXPECT_EQ(tracker.ratio(), 0.5);
  tracker.add_compute({200, 300});
  EXPECT_EQ(tracker.ratio(), 1.0);
  tracker.add_compute({300, 400});
  EXPECT_EQ(tracker.overlapped_ns(), 100U) << "nothing is counted twice";
}

TEST(OverlapTracker, ALongCopySpansSeveralSteps) {
  OverlapTracker tracker;
  tracker.add_compute({0, 100});
  tracker.add_copy({50, 450});
  tracker.add_compute({150, 250});
  tracker.add_compute({350, 500});
  EXPECT_EQ(tracker.overlapped_ns(), 50U + 100U + 100U);
}

TEST(OverlapTracker, EmptyAndReversedCopiesCountNothing) {
  OverlapTracker tracker;
  tracker.add_compute({0, 100});
  tracker.add_copy({50, 50});
  tracker.add_copy({60, 50});
  EXPECT_EQ(tracker.copy_ns(), 0U);
}

TEST(OverlapTracker, ResetForgetsEverything) {
  OverlapTracker tracker;
  tracker.add_copy({50, 150});
  tracker.reset();
  tracker.add_compute({0, 200});
  EXPECT_EQ(tracker.overlapped_ns(), 0U);
  EXPECT_EQ(tracker.copy_ns(), 0U);
}

TEST(OverlapTracker, AgreesWithACountOfEveryMomentInAnyOrderOfReports) {
  std::mt19937 random(11);
  for (int round = 0; round < 50; ++round) {
    std::vector<bool> computing(2000, false);
    std::vector<Timestamps> steps;
    for (uint64_t at = random() % 30; at + 60 < computing.size();) {
      const Timestamps step{at, at + 1 + random() % 50};
      for (uint64_t t = step.start_ns; t < step.end_ns; ++t) computing[t] = true;
      steps.push_back(step);
      at = step.end_ns + random() % 40;
    }
    OverlapTracker tracker;
    uint64_t expected = 0;
    size_t reported = 0;
    for (int i = 0; i < 40; ++i) {
      const uint64_t start = random() % 1900;
      const Timestamps copy{start, start + 1 + random() % 90};
      for (uint64_t t = copy.start_ns; t < copy.end_ns; ++t) expected += computing[t] ? 1 : 0;
      // Compute in order, but anywhere among the copies.
      while (reported < steps.size() && random() % 3) tracker.add_compute(steps[reported++]);
      tracker.add_copy(copy);
    }
    while (reported < steps.size()) tracker.add_compute(steps[reported++]);
    EXPECT_EQ(tracker.overlapped_ns(), expected) << "round " << round;
  }
}

TEST(OverlapTracker, ACopyOlderThanTheStepsKeptCountsAsNotOverlapped) {
  OverlapTracker tracker;
  for (uint64_t i = 0; i < 1100; ++i) tracker.add_compute({i * 10, i * 10 + 10});
  tracker.add_copy({0, 10});
  EXPECT_EQ(tracker.ratio(), 0.0);
  tracker.add_copy({1000, 1010});
  EXPECT_EQ(tracker.ratio(), 0.5);
}

}  // namespace
}  // namespace krserve::runtime
