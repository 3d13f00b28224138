#include "engine/component_status.h"

#include <gtest/gtest.h>

namespace krserve::engine {
namespace {

EngineStatistics busy() {
  EngineStatistics s;
  s.pool.enabled = s.blit.enabled = s.ring.enabled = true;
  s.pool.total_allocations = 100;
  s.pool.hit_rate = 1;
  s.blit.total_uploads = 10;
  s.blit.overlap_ratio = 0.9;
  s.ring.total_acquisitions = 100;
  s.ring.reuse_rate = 0.95;
  s.since_reset_s = 10;
  return s;
}

GradedMetric metric(const EngineStatistics& s, std::string_view name) {
  for (const GradedMetric& m : grade_components(s)) {
    if (m.metric == name) return m;
  }
  ADD_FAILURE() << "no metric " << name;
  return {};
}

TEST(ComponentStatus, GradesEveryRowOfTheTableAtItsLimits) {
  struct Case {
    const char* name;
    double value;
    Grade grade;
  };
  EngineStatistics s = busy();
  const auto set = [&s](std::string_view name, double value) {
    if (name == "hit_rate") s.pool.hit_rate = value;
    if (name == "overlap_ratio") s.blit.overlap_ratio = value;
    if (name == "reuse_rate") s.ring.reuse_rate = value;
    if (name == "exhaustion_count") s.pool.exhaustion_count = static_cast<uint64_t>(value);
    if (name == "queue_depth") s.blit.queue_depth = static_cast<uint32_t>(value);
    if (name == "avg_wait_ms") s.ring.avg_wait_ms = value;
  };
  for (const Case& c : std::initializer_list<Case>{
           {"hit_rate", 0.96, Grade::kOnTarget},        {"hit_rate", 0.95, Grade::kAcceptable},
           {"hit_rate", 0.90, Grade::kAcceptable},      {"hit_rate", 0.89, Grade::kWarning},
           {"hit_rate", 0.79, Grade::kCritical},        {"overlap_ratio", 0.81, Grade::kOnTarget},
           {"overlap_ratio", 0.69, Grade::kWarning},    {"overlap_ratio", 0.49, Grade::kCritical},
           {"reuse_rate", 0.91, Grade::kOnTarget},      {"reuse_rate", 0.79, Grade::kWarning},
           {"reuse_rate", 0.69, Grade::kCritical},      {"exhaustion_count", 0, Grade::kOnTarget},
           {"exhaustion_count", 1, Grade::kAcceptable}, {"exhaustion_count", 11, Grade::kWarning},
           {"exhaustion_count", 101, Grade::kCritical}, {"queue_depth", 7, Grade::kOnTarget},
           {"queue_depth", 8, Grade::kAcceptable},      {"queue_depth", 13, Grade::kWarning},
           {"queue_depth", 17, Grade::kCritical},       {"avg_wait_ms", 0.05, Grade::kOnTarget},
           {"avg_wait_ms", 1.5, Grade::kWarning},       {"avg_wait_ms", 6, Grade::kCritical}}) {
    set(c.name, c.value);
    EXPECT_EQ(metric(s, c.name).grade, c.grade) << c.name << " " << c.value;
  }
}

TEST(ComponentStatus, ExhaustionIsCountedPerHour) {
  EngineStatistics s = busy();
  s.pool.exhaustion_count = 20;
  EXPECT_EQ(metric(s, "exhaustion_count").grade, Grade::kWarning);
  s.since_reset_s = 4 * 3600;
  EXPECT_EQ(metric(s, "exhaustion_count").value, 5);
  EXPECT_EQ(metric(s, "exhaustion_count").grade, Grade::kAcceptable);
}

TEST(ComponentStatus, WhatIsOffOrIdleHasNoGrade) {
  for (const GradedMetric& m : grade_components(EngineStatistics()))
    EXPECT_EQ(m.grade, Grade::kNoData) << m.metric;
  EngineStatistics off = busy();
  off.ring.enabled = false;
  EXPECT_EQ(metric(off, "reuse_rate").grade, Grade::kNoData);
  EngineStatistics fresh = busy();
  fresh.ring.total_acquisitions = 5;
  fresh.ring.reuse_rate = 0;
  EXPECT_EQ(metric(fresh, "reuse_rate").grade, Grade::kNoData);
  EngineStatistics idle = busy();
  idle.pool.total_allocations = 0;
  EXPECT_EQ(metric(idle, "hit_rate").grade, Grade::kNoData);
}

TEST(ComponentStatus, StoresIntoSharedMemoryHaveNothingToOverlap) {
  EngineStatistics s = busy();
  s.blit.overlap_ratio = 0.01;
  s.blit.no_copy_count = s.blit.total_uploads;
  EXPECT_EQ(metric(s, "overlap_ratio").grade, Grade::kNoData);
}

}  // namespace
}  // namespace krserve::engine
