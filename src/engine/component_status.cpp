#include "engine/component_status.h"

#include <algorithm>

namespace krserve::engine {
namespace {

GradedMetric graded(GradedMetric m, bool has_data, double value) {
  if (!has_data) return m;
  m.value = value;
  m.grade = grade_of(m, value);
  return m;
}

}  // namespace

Grade grade_of(const GradedMetric& m, double value) {
  const auto beyond = [&](double limit) {
    return m.higher_is_better ? value < limit : value > limit;
  };
  if (beyond(m.critical)) return Grade::kCritical;
  if (beyond(m.warning)) return Grade::kWarning;
  // The table's targets are strict (> 95 %, < 8), except an exhaustion count of 0.
  const bool reached =
      m.higher_is_better ? value > m.target : value < m.target || (m.target == 0 && value == 0);
  return reached ? Grade::kOnTarget : Grade::kAcceptable;
}

std::string_view to_string(Grade grade) {
  switch (grade) {
    case Grade::kOnTarget:
      return "on target";
    case Grade::kAcceptable:
      return "acceptable";
    case Grade::kWarning:
      return "warning";
    case Grade::kCritical:
      return "critical";
    case Grade::kNoData:
      break;
  }
  return "no data";
}

std::vector<GradedMetric> grade_components(const EngineStatistics& s) {
  const runtime::PoolStatistics& pool = s.pool;
  const runtime::BlitStatistics& blit = s.blit;
  const runtime::RingStatistics& ring = s.ring;
  const bool pool_used = pool.enabled && pool.total_allocations > 0;
  // A store into shared memory is over at once: nothing to overlap.
  const uint64_t transfers = blit.total_uploads + blit.total_downloads;
  const bool copied = blit.enabled && transfers > blit.no_copy_count;
  // Each slot makes its recordings first: a few steps say nothing about reuse.
  constexpr uint64_t kEnoughSteps = 32;
  const bool ring_used = ring.enabled && ring.total_acquisitions >= kEnoughSteps;
  const double hours = std::max(1.0, s.since_reset_s / 3600);
  return {
      graded({"memory_pool", "hit_rate", "", true, 0.95, 0.90, 0.80,
              "raise heap_size_mb or num_heaps"},
             pool_used, pool.hit_rate),
      graded({"blit_queue", "overlap_ratio", "", true, 0.80, 0.70, 0.50,
              "copies run while no step does: see stalls by cause, and --trace"},
             copied, blit.overlap_ratio),
      graded({"command_ring", "reuse_rate", "", true, 0.90, 0.80, 0.70,
              "fewer different batch sizes: keep engine.parallel close to the load"},
             ring_used, ring.reuse_rate),
      graded({"memory_pool", "exhaustion_count", "1/h", false, 0, 10, 100,
              "raise heap_size_mb or num_heaps; look for leaks in pool_live_objects"},
             pool_used, static_cast<double>(pool.exhaustion_count) / hours),
      graded({"blit_queue", "queue_depth", "", false, 8, 12, 16,
              "lower max_pending_ops or raise staging_buffer_size_mb"},
             blit.enabled, static_cast<double>(blit.queue_depth)),
      graded({"command_ring", "avg_wait_ms", "ms", false, 0.1, 1, 5,
              "raise ring_size; set timeout_ms to fail fast on hangs"},
             ring_used, ring.avg_wait_ms),
  };
}

}  // namespace krserve::engine
