// The device's idle time between consecutive steps, each gap with the cause that the facts give.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/log_histogram.h"
#include "device/queue.h"
#include "runtime/statistics.h"

namespace krserve::runtime {

// What is known of a step besides its own times; all on the device's clock.
struct StepFacts {
  uint64_t committed_ns = 0;
  // The last of its waits that was not over at commit: when it was over, if the back end can tell.
  bool waited = false;
  std::optional<uint64_t> waits_over_ns;
  bool after_idle = false;  // there had been room in the ring and nothing to run
};

struct Gap {
  uint64_t ns = 0;
  GapCause cause = GapCause::kLaunch;
};

// Not thread-safe.
class GapTracker {
 public:
  // Steps come in order. Nothing for the first one, or after forget_previous().
  std::optional<Gap> add(const Timestamps& step, const StepFacts& facts, bool count);
  // The next step follows nothing: the ring was rebuilt.
  void forget_previous() { previous_end_ns_ = 0; }
  void reset();
  void write(RingStatistics& out) const;

  // The largest part of the time from `previous_end_ns` to `start_ns`. Until the commit the host
  // was late (or had nothing to run), from then until the waits were over a copy was; what is left
  // is the device's own.
  static GapCause cause_of(uint64_t previous_end_ns, uint64_t start_ns, const StepFacts& facts);

 private:
  struct Counter {
    LogHistogram ns;
    uint64_t total_ns = 0;
    std::array<uint64_t, kGapBoundsUs.size() + 1> buckets{};
  };

  uint64_t previous_end_ns_ = 0;
  LogHistogram all_;  // gaps while there was work, those of 0 with them
  std::array<Counter, kGapCauses> causes_;
};

}  // namespace krserve::runtime
