// What happened between two readings of one run of a server.
#pragma once

#include <optional>

#include "cli/top/snapshot.h"
#include "engine/component_status.h"

namespace krserve::cli {

// Per second unless named otherwise; a ratio or mean is missing when nothing happened that it is
// about.
struct Rates {
  double seconds = 0;  // 0: there is no pair of readings yet, and everything else is 0 too
  double generated_tokens = 0;
  double prompt_tokens = 0;
  double steps = 0;
  double completed = 0;
  double allocations = 0;
  double fallbacks = 0;
  double exhaustions = 0;  // in the interval, not per second
  double uploads = 0;
  double downloads = 0;
  double upload_bytes = 0;
  double download_bytes = 0;
  double no_copy = 0;
  double sync_waits = 0;
  double stalls = 0;
  double acquisitions = 0;
  double waits = 0;
  double cpu_cores = 0;
  double device_busy = 0;  // 0..1
  std::optional<double> ttft_ms;
  std::optional<double> inter_token_ms;
  std::optional<double> queue_ms;
  std::optional<double> hit_rate;
  std::optional<double> overlap_ratio;
  std::optional<double> reuse_rate;
  std::optional<double> avg_wait_ms;
};

// All zero unless both are of the same run, the clock went on and no counter fell (statistics were
// reset between them).
Rates rates_between(const Snapshot& before, const Snapshot& now);

// A row of the table: the value of the interval where it has one, else the value since start, and
// the grade of what is there.
struct GradedRow {
  std::optional<double> now;
  std::optional<double> since_start;
  engine::Grade grade = engine::Grade::kNoData;
};
GradedRow grade_row(const GradedReading& reading, const Rates& rates, const Snapshot& snapshot);

}  // namespace krserve::cli
