// How much of the time copies ran was compute running too, from device timestamps.
#pragma once

#include <cstdint>
#include <deque>

#include "device/queue.h"

namespace krserve::runtime {

// Intervals of compute come in order and do not overlap; copies in any order, before or after the
// compute they meet. A copy much older than the newest compute intervals kept (kKeptCompute) counts
// as not overlapped.
class OverlapTracker {
 public:
  void add_copy(Timestamps copy);
  void add_compute(Timestamps compute);
  void reset();

  uint64_t copy_ns() const { return copy_ns_; }
  uint64_t overlapped_ns() const { return overlapped_ns_; }
  // overlapped / copy time; 0 when nothing was copied.
  double ratio() const;

 private:
  static constexpr size_t kKeptCompute = 1024;
  static constexpr size_t kKeptCopies = 256;

  std::deque<Timestamps> compute_;
  std::deque<Timestamps> open_copies_;  // may still meet later compute
  uint64_t copy_ns_ = 0;
  uint64_t overlapped_ns_ = 0;
};

}  // namespace krserve::runtime
