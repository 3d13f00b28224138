#include "device/timeline_value.h"

namespace krserve {

bool TimelineValue::signal(uint64_t value, uint64_t at_ns) {
  if (has_reached(value) || is_poisoned()) return false;
  last_[signals_++ % kKept] = {value, at_ns};
  value_.store(value, std::memory_order_release);
  return true;
}

void TimelineValue::poison(const std::string& message) {
  if (message_.empty()) message_ = message.empty() ? "device error" : message;
}

std::optional<std::string> TimelineValue::error() const {
  if (message_.empty()) return std::nullopt;
  return message_;
}

std::optional<uint64_t> TimelineValue::reached_at(uint64_t value) const {
  const uint64_t oldest = signals_ > kKept ? signals_ - kKept : 0;
  for (uint64_t i = signals_; i > oldest; --i) {
    const Reached& here = last_[(i - 1) % kKept];
    if (here.value < value) return std::nullopt;
    const bool first = i == 1 || (i - 1 > oldest && last_[(i - 2) % kKept].value < value);
    if (first) return here.at_ns;
  }
  return std::nullopt;
}

}  // namespace krserve
