#include "runtime/memory_pool/deferred_frees.h"

#include <algorithm>
#include <array>

namespace krserve::runtime {

void DeferredFrees::add(Allocation allocation, TimelinePoint point) {
  if (!allocation || point.reached()) return;
  const std::lock_guard lock(mutex_);
  auto line = std::find_if(lines_.begin(), lines_.end(),
                           [&](const Line& l) { return l.timeline == point.timeline; });
  if (line == lines_.end()) {
    lines_.push_back({std::move(point.timeline), {}});
    line = std::prev(lines_.end());
  }
  // Points come in order, nearly always: then this is the end.
  auto at = line->entries.end();
  while (at != line->entries.begin() && std::prev(at)->value > point.value) --at;
  line->entries.insert(at, Entry{point.value, std::move(allocation)});
  count_.fetch_add(1, std::memory_order_relaxed);
}

size_t DeferredFrees::take(Allocation* out, size_t room, bool all) {
  size_t taken = 0;
  const std::lock_guard lock(mutex_);
  for (Line& line : lines_) {
    const uint64_t reached = all ? UINT64_MAX : line.timeline->value();
    while (taken < room && !line.entries.empty() && line.entries.front().value <= reached) {
      out[taken++] = std::move(line.entries.front().allocation);
      line.entries.pop_front();
    }
  }
  std::erase_if(lines_, [](const Line& line) { return line.entries.empty(); });
  count_.fetch_sub(taken, std::memory_order_relaxed);
  return taken;
}

void DeferredFrees::free_due(bool all) {
  if (!pending()) return;
  size_t taken = 0;
  do {
    std::array<Allocation, 16> due;  // given back here, outside the lock
    taken = take(due.data(), due.size(), all);
  } while (taken == 16);
}

}  // namespace krserve::runtime
