// Timeline: a 64-bit value that only grows, for queues and the host to wait on and signal.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace krserve {

enum class WaitResult { kReached, kTimeout };

// Waits without a limit.
inline constexpr std::chrono::nanoseconds kNoTimeout = std::chrono::nanoseconds::max();

class Timeline {
 public:
  Timeline() = default;
  Timeline(const Timeline&) = delete;
  Timeline& operator=(const Timeline&) = delete;
  virtual ~Timeline() = default;

  virtual uint64_t value() const = 0;
  // From the host. Values not above the current one are ignored, as is every value after a poison.
  virtual void signal(uint64_t value) = 0;
  // Throws DeviceError if the timeline is poisoned and the value was not reached before.
  virtual WaitResult wait(uint64_t value, std::chrono::nanoseconds timeout) = 0;
  // A device error: every present and later waiter for a value not reached gets it. The first
  // message sticks and the value stays: what ran after a failed command buffer does not heal it.
  virtual void poison(const std::string& message) = 0;
  virtual std::optional<std::string> error() const = 0;

  // When the value was reached, on the device's clock; nothing where the back end does not know
  // (any more: recent values are enough).
  virtual std::optional<uint64_t> reached_at_ns(uint64_t) const { return std::nullopt; }

  bool reached(uint64_t target) const { return value() >= target; }
};

// A moment on a timeline. An empty point has always been reached.
struct TimelinePoint {
  std::shared_ptr<Timeline> timeline;
  uint64_t value = 0;

  bool reached() const { return !timeline || timeline->reached(value); }
  WaitResult wait(std::chrono::nanoseconds timeout) const {
    return timeline ? timeline->wait(value, timeout) : WaitResult::kReached;
  }
};

}  // namespace krserve
