// Timeline of the CPU device: an atomic value for readers, a condition variable for waiters.
#pragma once

#include <condition_variable>
#include <mutex>

#include "device/timeline.h"
#include "device/timeline_value.h"

namespace krserve {

class CpuTimeline final : public Timeline {
 public:
  uint64_t value() const override { return known_.get(); }
  void signal(uint64_t value) override;
  WaitResult wait(uint64_t value, std::chrono::nanoseconds timeout) override;
  void poison(const std::string& message) override;
  std::optional<std::string> error() const override;
  std::optional<uint64_t> reached_at_ns(uint64_t value) const override;

 private:
  TimelineValue known_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
};

}  // namespace krserve
