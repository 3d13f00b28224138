// Frees that wait for a timeline to reach a value: a queue for each timeline, in order of value.
#pragma once

#include <atomic>
#include <deque>
#include <list>
#include <mutex>
#include <vector>

#include "device/timeline.h"
#include "runtime/memory_pool/allocation.h"

namespace krserve::runtime {

// Thread-safe. Adding in order of value and freeing cost O(1) each; a look at nothing due costs
// one read of each timeline that something waits for.
class DeferredFrees {
 public:
  void add(Allocation allocation, TimelinePoint point);
  // Frees what is due; with `all`, everything.
  void free_due(bool all);
  bool pending() const { return count_.load(std::memory_order_relaxed) > 0; }

 private:
  struct Entry {
    uint64_t value;
    Allocation allocation;
  };
  struct Line {
    std::shared_ptr<Timeline> timeline;
    std::deque<Entry> entries;  // by value
  };

  // Moves what is due to `out`, as far as it has room; returns how many.
  size_t take(Allocation* out, size_t room, bool all);

  std::mutex mutex_;
  std::list<Line> lines_;
  std::atomic<uint64_t> count_{0};
};

}  // namespace krserve::runtime
