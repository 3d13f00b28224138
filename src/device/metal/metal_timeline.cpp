#include "device/metal/metal_timeline.h"

#include "base/error.h"
#include "base/units.h"

namespace krserve {

void MetalTimeline::signal(uint64_t value) {
  context_->update([&] { known_.signal(value, now_ns()); });
}

WaitResult MetalTimeline::wait(uint64_t value, std::chrono::nanoseconds timeout) {
  if (reached(value)) return WaitResult::kReached;
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

void MetalTimeline::poison(const std::string& message) {
  context_->update([&] { known_.poison(message); });
}

std::optional<std::string> MetalTimeline::error() const {
  const std::lock_guard lock(context_->mutex);
  return known_.error();
}

std::optional<uint64_t> MetalTimeline::reached_at_ns(uint64_t value) const {
  const std::lock_guard lock(context_->mutex);
  return known_.reached_at(value);
}

const MetalTimeline::Producer* MetalTimeline::producer_of(uint64_t value,
                                                          const MetalLane* lane) const {
  const Producer* found = nullptr;
  for (const Producer& producer : producers_) {
    if (producer.value < value) continue;
    if (producer.lane == lane) return &producer;
    if (!found) found = &producer;
  }
  return found;
}

void MetalTimeline::remove_producers(const MetalLane* lane, uint64_t event_value) {
  std::erase_if(producers_, [&](const Producer& producer) {
    return producer.lane == lane && producer.event_value == event_value;
  });
}

}  // namespace krserve
