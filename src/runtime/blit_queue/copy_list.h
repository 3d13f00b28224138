// Lists of copies between device memory and staging memory of the caller: what they must be like,
// and the pieces they go in.
#pragma once

#include <span>
#include <vector>

#include "runtime/blit_queue/transfers.h"

namespace krserve::runtime {

// The pairs that copy anything. Throws DeviceError unless both views of each are of one size and
// within their buffers.
std::vector<ViewPair> checked_pairs(std::span<const ViewPair> pairs);

uint64_t bytes_of(std::span<const ViewPair> pairs);
// The bytes that a device would copy in the time these copies take: a small copy has its price.
uint64_t cost_of(std::span<const ViewPair> pairs);

// Cuts a list into the pieces that go in one command buffer each. A pair goes whole where it can;
// neighbours at both ends are one copy.
class CopyCutter {
 public:
  // None of the pairs is empty.
  explicit CopyCutter(std::span<const ViewPair> pairs) : rest_(pairs) {}

  bool is_done() const { return rest_.empty(); }
  // The next piece, which costs at most so much.
  std::vector<ViewPair> next(uint64_t most_cost);

 private:
  std::span<const ViewPair> rest_;
  uint64_t at_ = 0;  // of the first one's bytes
};

}  // namespace krserve::runtime
