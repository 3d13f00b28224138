#include "runtime/command_ring/gap_tracker.h"

#include <algorithm>
#include <utility>

namespace krserve::runtime {

const char* to_string(GapCause cause) {
  switch (cause) {
    case GapCause::kHostLate:
      return "host_late";
    case GapCause::kBlit:
      return "blit";
    case GapCause::kLaunch:
      return "launch";
    case GapCause::kNoWork:
      return "no_work";
  }
  return "?";
}

GapCause GapTracker::cause_of(uint64_t previous_end_ns, uint64_t start_ns, const StepFacts& facts) {
  if (facts.after_idle && facts.committed_ns > previous_end_ns) return GapCause::kNoWork;
  const uint64_t committed = std::clamp(facts.committed_ns, previous_end_ns, start_ns);
  uint64_t ready = committed;
  if (facts.waited) ready = std::clamp(facts.waits_over_ns.value_or(start_ns), committed, start_ns);
  const uint64_t host = committed - previous_end_ns;
  const uint64_t blit = ready - committed;
  const uint64_t launch = start_ns - ready;
  if (host >= blit && host >= launch) return GapCause::kHostLate;
  return blit >= launch ? GapCause::kBlit : GapCause::kLaunch;
}

std::optional<Gap> GapTracker::add(const Timestamps& step, const StepFacts& facts, bool count) {
  const uint64_t previous = std::exchange(previous_end_ns_, step.end_ns);
  if (previous == 0) return std::nullopt;
  const Gap gap{
      step.start_ns > previous ? step.start_ns - previous : 0,
      step.start_ns > previous ? cause_of(previous, step.start_ns, facts) : GapCause::kLaunch};
  if (!count) return gap;
  if (gap.cause != GapCause::kNoWork) all_.observe(gap.ns);
  if (gap.ns == 0) return gap;
  Counter& counter = causes_[static_cast<size_t>(gap.cause)];
  counter.ns.observe(gap.ns);
  counter.total_ns += gap.ns;
  const double us = static_cast<double>(gap.ns) / 1e3;
  const auto bound = std::lower_bound(kGapBoundsUs.begin(), kGapBoundsUs.end(), us);
  ++counter.buckets[static_cast<size_t>(bound - kGapBoundsUs.begin())];
  return gap;
}

void GapTracker::reset() {
  *this = GapTracker();
}

void GapTracker::write(RingStatistics& out) const {
  const auto us = [](uint64_t ns) { return static_cast<double>(ns) / 1e3; };
  out.gap_p50_us = us(all_.quantile(0.5));
  out.gap_p99_us = us(all_.quantile(0.99));
  out.gap_count = all_.count();
  for (size_t i = 0; i < causes_.size(); ++i) {
    const Counter& counter = causes_[i];
    out.gaps[i] = {counter.ns.count(),           us(counter.total_ns) / 1e3,
                   us(counter.ns.quantile(0.5)), us(counter.ns.quantile(0.99)),
                   us(counter.ns.max()),         counter.buckets};
  }
}

}  // namespace krserve::runtime
