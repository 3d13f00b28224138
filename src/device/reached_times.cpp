#include "device/reached_times.h"

namespace krserve {

std::optional<uint64_t> ReachedTimes::of(uint64_t value) const {
  const uint64_t oldest = count_ > kKept ? count_ - kKept : 0;
  for (uint64_t i = count_; i > oldest; --i) {
    const Reached& here = last_[(i - 1) % kKept];
    if (here.value < value) return std::nullopt;
    const bool first = i == 1 || (i - 1 > oldest && last_[(i - 2) % kKept].value < value);
    if (first) return here.at_ns;
  }
  return std::nullopt;
}

}  // namespace krserve
