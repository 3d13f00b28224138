#include "device/cpu/cpu_timeline.h"

#include "base/error.h"
#include "base/units.h"

namespace krserve {

void CpuTimeline::signal(uint64_t value) {
  {
    const std::lock_guard lock(mutex_);
    if (!known_.signal(value, now_ns())) return;
  }
  changed_.notify_all();
}

WaitResult CpuTimeline::wait(uint64_t value, std::chrono::nanoseconds timeout) {
  if (reached(value)) return WaitResult::kReached;
  std::unique_lock lock(mutex_);
  const auto over = [&] { return known_.has_reached(value) || known_.is_poisoned(); };
  if (timeout == kNoTimeout) {
    changed_.wait(lock, over);
  } else if (!changed_.wait_for(lock, timeout, over)) {
    return WaitResult::kTimeout;
  }
  if (known_.has_reached(value)) return WaitResult::kReached;
  throw DeviceError("timeline.wait", known_.message());
}

void CpuTimeline::poison(const std::string& message) {
  {
    const std::lock_guard lock(mutex_);
    known_.poison(message);
  }
  changed_.notify_all();
}

std::optional<uint64_t> CpuTimeline::reached_at_ns(uint64_t value) const {
  const std::lock_guard lock(mutex_);
  return known_.reached_at(value);
}

std::optional<std::string> CpuTimeline::error() const {
  const std::lock_guard lock(mutex_);
  return known_.error();
}

}  // namespace krserve
