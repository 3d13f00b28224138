// Spreads background copies over time, so that steps keep the memory bandwidth they need.
#pragma once

#include <cstdint>
#include <mutex>

namespace krserve::runtime {

// Thread-safe. Times are nanoseconds of any one clock.
class Pacer {
 public:
  // 0 = no limit.
  explicit Pacer(uint64_t bytes_per_s) : bytes_per_s_(bytes_per_s) {}

  // A step was seen to end: copies are paced from now until kQuietNs later.
  void note_compute(uint64_t now_ns);
  // How long to wait before `bytes` may be copied; counts them as copied then.
  uint64_t delay_ns(uint64_t now_ns, uint64_t bytes);

 private:
  static constexpr uint64_t kQuietNs = 200'000'000;

  const uint64_t bytes_per_s_;
  std::mutex mutex_;
  uint64_t last_compute_ns_ = 0;
  bool computed_ = false;
  uint64_t free_at_ns_ = 0;
};

}  // namespace krserve::runtime
