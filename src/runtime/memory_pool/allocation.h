// Allocation: a piece of device memory and who takes it back.
#pragma once

#include <memory>

#include "device/buffer.h"
#include "runtime/statistics.h"

namespace krserve::runtime {

class Allocator;

// Owns a piece of device memory; gives it back when destroyed. Must not outlive its allocator.
class Allocation {
 public:
  Allocation() = default;
  Allocation(Allocation&& other) noexcept { swap(other); }
  Allocation& operator=(Allocation&& other) noexcept {
    if (this != &other) {
      reset();
      swap(other);
    }
    return *this;
  }
  ~Allocation() { reset(); }

  explicit operator bool() const { return owner_ != nullptr; }
  // Exactly the bytes asked for.
  const BufferView& view() const { return view_; }
  MemoryTag tag() const { return tag_; }
  // With rounding: what the allocator gave up for it.
  uint64_t held_bytes() const { return held_bytes_; }
  void reset() noexcept {
    if (owner_ != nullptr) give_back();
  }

 private:
  friend class AllocatorAdaptor;
  friend class DirectAllocator;
  friend class MemoryPool;
  static constexpr uint32_t kNone = UINT32_MAX;

  void give_back() noexcept;
  void swap(Allocation& other) noexcept {
    std::swap(owner_, other.owner_);
    std::swap(view_, other.view_);
    std::swap(tag_, other.tag_);
    const uint32_t shard = shard_;
    shard_ = other.shard_;
    other.shard_ = shard;
    const uint32_t cached = cached_;
    cached_ = other.cached_;
    other.cached_ = cached;
    std::swap(held_bytes_, other.held_bytes_);
    std::swap(heap_, other.heap_);
    std::swap(block_, other.block_);
    std::swap(buffer_, other.buffer_);
  }

  Allocator* owner_ = nullptr;
  BufferView view_;
  MemoryTag tag_ = MemoryTag::kOther;
  // Of the pool: the shard that counts it, and whether its block came through the shard's cache.
  uint32_t shard_ : 31 = 0;
  uint32_t cached_ : 1 = 0;
  uint64_t held_bytes_ = 0;
  uint32_t heap_ = kNone;           // index of the pool's heap, or
  uint32_t block_ = 0;              // with its block,
  std::unique_ptr<Buffer> buffer_;  // an on-demand buffer
};

}  // namespace krserve::runtime
