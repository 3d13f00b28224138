// What a timeline knows: its value, when the latest were reached, and why it is poisoned.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace krserve {

// get() and has_reached() from any thread; all else with the owner's lock held.
class TimelineValue {
 public:
  uint64_t get() const { return value_.load(std::memory_order_acquire); }
  bool has_reached(uint64_t value) const { return get() >= value; }

  // False if nothing changed: values not above the current one, and all after a poison, are
  // ignored.
  bool signal(uint64_t value, uint64_t at_ns);
  // The first message sticks.
  void poison(const std::string& message);
  bool is_poisoned() const { return !message_.empty(); }
  // Empty while all is well.
  const std::string& message() const { return message_; }
  std::optional<std::string> error() const;
  // Nothing for a value that is not reached yet, or so long ago that it is not known any more.
  std::optional<uint64_t> reached_at(uint64_t value) const;

 private:
  static constexpr size_t kKept = 32;
  struct Reached {
    uint64_t value = 0;
    uint64_t at_ns = 0;
  };

  std::atomic<uint64_t> value_{0};
  std::string message_;
  std::array<Reached, kKept> last_{};  // signal number n is at n % kKept
  uint64_t signals_ = 0;
};

}  // namespace krserve
