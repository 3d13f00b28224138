// The staging buffer as a ring: regions are taken in order; a region is free again when it and all
// older ones were given back.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>

namespace krserve::runtime {

class StagingRing {
 public:
  StagingRing(uint64_t capacity_bytes, uint64_t alignment)
      : capacity_(capacity_bytes), alignment_(alignment) {}

  // Offset of a contiguous region, or none while too much is in use. bytes <= capacity.
  std::optional<uint64_t> take(uint64_t bytes);
  // Gives back the region that begins there.
  void give_back(uint64_t begin);

  uint64_t capacity_bytes() const { return capacity_; }
  bool empty() const { return regions_.empty(); }

 private:
  struct Region {
    uint64_t begin;
    uint64_t end;
    bool returned;
  };
  uint64_t capacity_;
  uint64_t alignment_;
  std::deque<Region> regions_;
};

}  // namespace krserve::runtime
