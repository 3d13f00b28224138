// When the latest values of a timeline were reached.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace krserve {

// Not thread-safe.
class ReachedTimes {
 public:
  // Values come in ascending order.
  void add(uint64_t value, uint64_t at_ns) { last_[count_++ % kKept] = {value, at_ns}; }
  // Nothing for a value that is not reached yet, or so long ago that it is not known any more.
  std::optional<uint64_t> of(uint64_t value) const;

 private:
  static constexpr size_t kKept = 32;
  struct Reached {
    uint64_t value = 0;
    uint64_t at_ns = 0;
  };

  std::array<Reached, kKept> last_{};  // number n is at n % kKept
  uint64_t count_ = 0;
};

}  // namespace krserve
