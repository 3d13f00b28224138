#include "runtime/blit_queue/overlap_tracker.h"

#include <algorithm>

namespace krserve::runtime {
namespace {

uint64_t common_ns(const Timestamps& a, const Timestamps& b) {
  const uint64_t start = std::max(a.start_ns, b.start_ns);
  const uint64_t end = std::min(a.end_ns, b.end_ns);
  return end > start ? end - start : 0;
}

}  // namespace

void OverlapTracker::add_copy(Timestamps copy) {
  if (copy.end_ns <= copy.start_ns) return;
  copy_ns_ += copy.end_ns - copy.start_ns;
  auto met = std::partition_point(compute_.begin(), compute_.end(), [&](const Timestamps& compute) {
    return compute.end_ns <= copy.start_ns;
  });
  for (; met != compute_.end() && met->start_ns < copy.end_ns; ++met) {
    overlapped_ns_ += common_ns(copy, *met);
  }
  if (compute_.empty() || compute_.back().end_ns < copy.end_ns) open_copies_.push_back(copy);
  if (open_copies_.size() > kKeptCopies) open_copies_.pop_front();
}

void OverlapTracker::add_compute(Timestamps compute) {
  for (const Timestamps& copy : open_copies_) overlapped_ns_ += common_ns(copy, compute);
  std::erase_if(open_copies_,
                [&](const Timestamps& copy) { return copy.end_ns <= compute.end_ns; });
  compute_.push_back(compute);
  if (compute_.size() > kKeptCompute) compute_.pop_front();
}

void OverlapTracker::reset() {
  *this = OverlapTracker();
}

double OverlapTracker::ratio() const {
  return copy_ns_ ? static_cast<double>(overlapped_ns_) / static_cast<double>(copy_ns_) : 0;
}

}  // namespace krserve::runtime
