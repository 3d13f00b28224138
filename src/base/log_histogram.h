// Histogram with logarithmic buckets (about 6 % wide) for durations of any size, in constant
// memory.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

namespace krserve {

class LogHistogram {
 public:
  void observe(uint64_t value) {
    ++counts_[bucket_of(value)];
    ++count_;
    if (value > max_) max_ = value;
  }

  uint64_t count() const { return count_; }
  uint64_t max() const { return max_; }

  // Upper edge of the bucket that holds the quantile q in [0, 1]; 0 when empty.
  uint64_t quantile(double q) const {
    if (count_ == 0) return 0;
    const auto target = static_cast<uint64_t>(q * static_cast<double>(count_ - 1));
    uint64_t seen = 0;
    for (uint32_t i = 0; i < kBuckets; ++i) {
      seen += counts_[i];
      if (seen > target) return upper_edge(i) < max_ ? upper_edge(i) : max_;
    }
    return max_;
  }

 private:
  static constexpr uint32_t kSubBits = 4;
  static constexpr uint32_t kSub = 1U << kSubBits;
  static constexpr uint32_t kBuckets = (64 - kSubBits + 1) * kSub;

  static uint32_t bucket_of(uint64_t value) {
    if (value < kSub) return static_cast<uint32_t>(value);
    const auto log2 = static_cast<uint32_t>(std::bit_width(value) - 1);
    const auto sub = static_cast<uint32_t>(value >> (log2 - kSubBits)) - kSub;
    return (log2 - kSubBits + 1) * kSub + sub;
  }
  static uint64_t upper_edge(uint32_t bucket) {
    if (bucket < kSub) return bucket;
    const uint32_t shift = bucket / kSub - 1;
    return ((uint64_t{kSub} + bucket % kSub + 1) << shift) - 1;
  }

  std::array<uint64_t, kBuckets> counts_{};
  uint64_t count_ = 0;
  uint64_t max_ = 0;
};

}  // namespace krserve
