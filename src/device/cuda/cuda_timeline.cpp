#include "device/cuda/cuda_timeline.h"

#include "base/error.h"
#include "base/units.h"

namespace krserve {

uint64_t CudaTimeline::value() const {
  if (pending_.load(std::memory_order_relaxed) > 0) context_->try_poll();
  return value_.load(std::memory_order_acquire);
}

void CudaTimeline::signal(uint64_t value) {
  const std::lock_guard lock(context_->mutex);
  signal_locked(value, now_ns());
  context_->poll();
  context_->changed.notify_all();
}

WaitResult CudaTimeline::wait(uint64_t value, std::chrono::nanoseconds timeout) {
  if (value_.load(std::memory_order_acquire) >= value) return WaitResult::kReached;
  std::string message;
  const auto over = [&] {
    if (has_reached(value)) return true;
    message = is_poisoned() ? message_ : context_->lost;
    return !message.empty();
  };
  if (!context_->wait_until(over, timeout)) return WaitResult::kTimeout;
  if (message.empty()) return WaitResult::kReached;
  throw DeviceError("timeline.wait", message);
}

void CudaTimeline::poison(const std::string& message) {
  const std::lock_guard lock(context_->mutex);
  poison_locked(message);
  context_->poll();
  context_->changed.notify_all();
}

std::optional<std::string> CudaTimeline::error() const {
  const std::lock_guard lock(context_->mutex);
  context_->poll();
  if (message_.empty()) return std::nullopt;
  return message_;
}

std::optional<uint64_t> CudaTimeline::reached_at_ns(uint64_t value) const {
  const std::lock_guard lock(context_->mutex);
  context_->poll();
  return reached_at_locked(value);
}

const CudaTimeline::Producer* CudaTimeline::producer_of(uint64_t value,
                                                        const CudaLane* lane) const {
  const Producer* found = nullptr;
  for (const Producer& producer : producers_) {
    if (producer.value < value) continue;
    if (producer.lane == lane) return &producer;
    if (!found) found = &producer;
  }
  return found;
}

void CudaTimeline::remove_producers(const CudaLane* lane, uint64_t number) {
  std::erase_if(producers_, [&](const Producer& producer) {
    return producer.lane == lane && producer.number == number;
  });
}

void CudaTimeline::signal_locked(uint64_t value, uint64_t at_ns) {
  if (has_reached(value) || is_poisoned()) return;
  reached_at_.add(value, at_ns);
  value_.store(value, std::memory_order_release);
}

void CudaTimeline::poison_locked(const std::string& message) {
  if (message_.empty()) message_ = message.empty() ? "device error" : message;
}

}  // namespace krserve
