#include "runtime/blit_queue/staging_ring.h"

#include <algorithm>
#include <cassert>

#include "base/units.h"

namespace krserve::runtime {

std::optional<uint64_t> StagingRing::take(uint64_t bytes) {
  const uint64_t size = align_up(std::max<uint64_t>(bytes, 1), alignment_);
  if (size > capacity_) return std::nullopt;
  uint64_t begin = 0;
  if (!regions_.empty()) {
    const uint64_t head = regions_.back().end;
    const uint64_t tail = regions_.front().begin;
    const bool wrapped = head <= tail;
    if (wrapped) {
      if (size > tail - head) return std::nullopt;
      begin = head;
    } else if (size <= capacity_ - head) {
      begin = head;
    } else if (size <= tail) {
      begin = 0;
    } else {
      return std::nullopt;
    }
  }
  regions_.push_back({begin, begin + size, false});
  return begin;
}

void StagingRing::give_back(uint64_t begin) {
  const auto it = std::find_if(regions_.begin(), regions_.end(), [&](const Region& region) {
    return region.begin == begin && !region.returned;
  });
  assert(it != regions_.end());
  it->returned = true;
  // The newest too: what was taken for a refused transfer leaves no hole.
  while (!regions_.empty() && regions_.back().returned) regions_.pop_back();
  while (!regions_.empty() && regions_.front().returned) regions_.pop_front();
}

}  // namespace krserve::runtime
