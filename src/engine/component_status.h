// The three components' metrics graded against the seed document's table of targets, warnings and
// critical values.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/statistics.h"

namespace krserve::engine {

// kAcceptable lies between target and warning. kNoData: the component is off, or has done nothing
// that the metric is about.
enum class Grade { kNoData, kOnTarget, kAcceptable, kWarning, kCritical };
std::string_view to_string(Grade grade);

// A metric and its limits. Values are fractions, counts or milliseconds, as `unit` says.
struct GradedMetric {
  std::string_view component;  // "memory_pool", "blit_queue", "command_ring"
  std::string_view metric;     // "hit_rate", ...
  std::string_view unit;       // "", "1/h", "ms"
  bool higher_is_better = true;
  double target = 0;
  double warning = 0;
  double critical = 0;
  std::string_view remedy;  // what to try below target

  double value = 0;  // meaningless for kNoData
  Grade grade = Grade::kNoData;
};

// By the table's rule; never kNoData.
Grade grade_of(const GradedMetric& limits, double value);

// All six, in the table's order. Exhaustion is counted per hour since statistics were reset; during
// the first hour the count stands for the hour.
std::vector<GradedMetric> grade_components(const EngineStatistics& statistics);

}  // namespace krserve::engine
