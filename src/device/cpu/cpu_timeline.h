// Timeline of the CPU device: an atomic value for readers, a condition variable for waiters.
#pragma once

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "device/reached_times.h"
#include "device/timeline.h"

namespace krserve {

class CpuTimeline final : public Timeline {
 public:
  uint64_t value() const override { return value_.load(std::memory_order_acquire); }
  void signal(uint64_t value) override;
  WaitResult wait(uint64_t value, std::chrono::nanoseconds timeout) override;
  void poison(const std::string& message) override;
  std::optional<std::string> error() const override;
  std::optional<uint64_t> reached_at_ns(uint64_t value) const override;

 private:
  std::atomic<uint64_t> value_{0};
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::string message_;
  ReachedTimes reached_at_;
};

}  // namespace krserve
