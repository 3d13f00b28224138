#include "runtime/blit_queue/pacer.h"

#include <algorithm>

namespace krserve::runtime {

void Pacer::note_compute(uint64_t now_ns) {
  if (bytes_per_s_ == 0) return;
  const std::lock_guard lock(mutex_);
  last_compute_ns_ = now_ns;
  computed_ = true;
}

uint64_t Pacer::delay_ns(uint64_t now_ns, uint64_t bytes) {
  if (bytes_per_s_ == 0) return 0;
  const std::lock_guard lock(mutex_);
  if (!computed_ || now_ns > last_compute_ns_ + kQuietNs) return 0;
  const uint64_t start = std::max(now_ns, free_at_ns_);
  free_at_ns_ = start + static_cast<uint64_t>(static_cast<double>(bytes) * 1e9 /
                                              static_cast<double>(bytes_per_s_));
  return start - now_ns;
}

}  // namespace krserve::runtime
