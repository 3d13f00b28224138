// Counts what the transfers do, from device timestamps; thread-safe, and free when switched off.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>

#include "runtime/blit_queue/overlap_tracker.h"
#include "runtime/statistics.h"
#include "runtime/trace/trace.h"

namespace krserve::runtime {

enum class BlitDirection : uint8_t { kUp, kDown };

class BlitMeter {
 public:
  // With `track` false nothing is counted: snapshot() is all zeros.
  explicit BlitMeter(bool track) : track_(track) {}

  // Copies are recorded from now on. Before the first one.
  void set_trace(std::shared_ptr<TraceRecorder> trace) { trace_ = std::move(trace); }
  // Whether anybody wants to know how long a copy took.
  bool times_copies() const { return track_ || (trace_ && trace_->records()); }
  // A copy's interval for the system's profiler: from its commit until the host knows its end.
  TraceInterval begin_copy(BlitDirection direction) const;
  // The same for whoever waits for one.
  TraceInterval begin_wait() const;
  // A transfer was accepted (a no-copy one: has been made).
  void add_transfer(BlitDirection direction, uint64_t bytes, bool no_copy = false);
  // A piece was copied.
  void add_copy(BlitDirection direction, uint64_t bytes, Timestamps times);
  void add_compute(Timestamps compute);
  void add_mapped(uint64_t bytes);
  void add_wait(uint64_t ns);
  void add_stall(BlitStall cause);
  void add_coalesced();
  void add_failed();
  void add_cancelled();
  // A piece was taken into a queue, or left it.
  void enter_queue();
  void leave_queue();

  BlitStatistics snapshot() const;
  void reset();

 private:
  struct Copied {
    uint64_t bytes = 0;
    uint64_t ns = 0;
  };

  const bool track_;
  std::shared_ptr<TraceRecorder> trace_;
  mutable std::mutex mutex_;
  OverlapTracker overlap_;
  BlitStatistics counts_;
  std::array<Copied, 2> copied_{};
  uint64_t wait_ns_ = 0;
  uint32_t depth_ = 0;
};

}  // namespace krserve::runtime
