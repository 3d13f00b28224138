#include "device/cuda/cuda_timeline.h"

#include "base/error.h"
#include "base/units.h"

namespace krserve {

uint64_t CudaTimeline::value() const {
  if (pending_.load(std::memory_order_relaxed) > 0) context_->try_poll();
  return known_.get();
}

void CudaTimeline::signal(uint64_t value) {
  const std::lock_guard lock(context_->mutex);
  known_.signal(value, now_ns());
  context_->poll();
  context_->changed.notify_all();
}

WaitResult CudaTimeline::wait(uint64_t value, std::chrono::nanoseconds timeout) {
  if (known_.has_reached(value)) return WaitResult::kReached;
  std::string message;
  const auto over = [&] {
    if (known_.has_reached(value)) return true;
    message = known_.is_poisoned() ? known_.message() : context_->lost;
    return !message.empty();
  };
  if (!context_->wait_until(over, timeout)) return WaitResult::kTimeout;
  if (message.empty()) return WaitResult::kReached;
  throw DeviceError("timeline.wait", message);
}

void CudaTimeline::poison(const std::string& message) {
  const std::lock_guard lock(context_->mutex);
  known_.poison(message);
  context_->poll();
  context_->changed.notify_all();
}

std::optional<std::string> CudaTimeline::error() const {
  const std::lock_guard lock(context_->mutex);
  context_->poll();
  return known_.error();
}

std::optional<uint64_t> CudaTimeline::reached_at_ns(uint64_t value) const {
  const std::lock_guard lock(context_->mutex);
  context_->poll();
  return known_.reached_at(value);
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

}  // namespace krserve
