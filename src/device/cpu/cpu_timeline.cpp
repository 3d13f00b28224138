#include "device/cpu/cpu_timeline.h"

#include "base/error.h"
#include "base/units.h"

namespace krserve {

void CpuTimeline::signal(uint64_t value) {
  {
    const std::lock_guard lock(mutex_);
    if (value <= value_.load(std::memory_order_relaxed) || !message_.empty()) return;
    reached_at_.add(value, now_ns());
    value_.store(value, std::memory_order_release);
  }
  changed_.notify_all();
}

WaitResult CpuTimeline::wait(uint64_t value, std::chrono::nanoseconds timeout) {
  if (reached(value)) return WaitResult::kReached;
  std::unique_lock lock(mutex_);
  const auto over = [&] {
    return value_.load(std::memory_order_relaxed) >= value || !message_.empty();
  };
  if (timeout == kNoTimeout) {
    changed_.wait(lock, over);
  } else if (!changed_.wait_for(lock, timeout, over)) {
    return WaitResult::kTimeout;
  }
  if (value_.load(std::memory_order_relaxed) >= value) return WaitResult::kReached;
  throw DeviceError("timeline.wait", message_);
}

void CpuTimeline::poison(const std::string& message) {
  {
    const std::lock_guard lock(mutex_);
    if (!message_.empty()) return;
    message_ = message.empty() ? "device error" : message;
  }
  changed_.notify_all();
}

std::optional<uint64_t> CpuTimeline::reached_at_ns(uint64_t value) const {
  const std::lock_guard lock(mutex_);
  return reached_at_.of(value);
}

std::optional<std::string> CpuTimeline::error() const {
  const std::lock_guard lock(mutex_);
  if (message_.empty()) return std::nullopt;
  return message_;
}

}  // namespace krserve
