// PagePool: pages of one size on a few blocks of device memory, taken and given back by index.
#pragma once

#include <cstdint>
#include <vector>

#include "runtime/memory_pool/allocator.h"

namespace krserve::runtime {

// Page p is in segment p / segment_pages, at (p % segment_pages) * page_bytes. Not thread-safe.
class PagePool {
 public:
  // Nothing may be asked of it.
  PagePool() = default;
  // One block for each `segment_pages` pages (the last may be shorter). Throws OutOfMemoryError.
  PagePool(Allocator& allocator, MemoryTag tag, uint64_t page_bytes, uint32_t pages,
           uint64_t segment_pages);

  uint32_t total() const { return total_; }
  uint32_t free() const { return static_cast<uint32_t>(free_.size()); }
  uint64_t bytes() const { return total_ * page_bytes_; }
  const std::vector<BufferView>& segments() const { return views_; }

  // Appends `count` pages; false, and none taken, if fewer are free. O(1) for each.
  bool take(std::vector<uint32_t>& pages, size_t count);
  // Gives all of them back and clears the list; its first page is the next to be taken.
  void give_back(std::vector<uint32_t>& pages);
  // Pages that something may still write to: taken or free, they stay out of use until
  // lift_quarantine().
  void quarantine(const std::vector<uint32_t>& pages);
  void lift_quarantine();
  // Every page is free, taken or held back, and counted once.
  bool check_integrity() const;

 private:
  enum class State : uint8_t { kFree, kTaken, kHeldBack };

  uint64_t page_bytes_ = 0;
  uint32_t total_ = 0;
  std::vector<Allocation> blocks_;
  std::vector<BufferView> views_;
  std::vector<uint32_t> free_;  // a stack: the page used last is the warmest
  std::vector<State> states_;
  std::vector<bool> quarantined_;
  std::vector<uint32_t> held_back_;  // free but for the quarantine
};

}  // namespace krserve::runtime
