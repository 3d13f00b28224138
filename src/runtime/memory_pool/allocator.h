// Where steps, caches and weights get device memory from: the pool, or the device itself when the
// pool is off.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "device/device.h"
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
  void reset() noexcept;

 private:
  friend class Allocator;
  friend class MemoryPool;
  friend class DirectAllocator;

  void swap(Allocation& other) noexcept;

  Allocator* owner_ = nullptr;
  BufferView view_;
  MemoryTag tag_ = MemoryTag::kOther;
  uint64_t held_bytes_ = 0;         // with rounding
  uint32_t heap_ = UINT32_MAX;      // index of the pool's heap, or
  uint32_t block_ = 0;              // with its block,
  std::unique_ptr<Buffer> buffer_;  // an on-demand buffer
};

class Allocator {
 public:
  Allocator() = default;
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;
  virtual ~Allocator() = default;

  // Throws OutOfMemoryError, for 0 bytes too. Thread-safe.
  virtual Allocation allocate(uint64_t bytes, MemoryTag tag) = 0;
  // Frees when the point is reached, without a wait: looked at by later allocations and collect().
  // A point that is poisoned is never reached; collect(true) frees what waits for it.
  void free_after(Allocation allocation, TimelinePoint point);
  // Frees what is due; with `all`, everything deferred (the device is idle or gone).
  void collect(bool all = false);

  virtual PoolStatistics statistics() const = 0;
  virtual void reset_statistics() = 0;
  // True when free + live == total and the books agree.
  virtual bool check_integrity() const = 0;

 protected:
  friend class Allocation;
  virtual void release(Allocation& allocation) noexcept = 0;

 private:
  struct Deferred {
    Allocation allocation;
    TimelinePoint point;
  };
  std::mutex deferred_mutex_;
  std::vector<Deferred> deferred_;
};

// Live, peak and per-tag counts. Not thread-safe.
class MemoryLedger {
 public:
  void add(MemoryTag tag, uint64_t bytes);
  void remove(MemoryTag tag, uint64_t bytes);
  void restart_peaks();
  void write(PoolStatistics& out) const;
  // "kv 2 objects 64.0 MiB, other ..." ; empty when nothing is live.
  std::string describe_live() const;
  // True when the tags add up to the totals.
  bool balanced() const;

 private:
  std::array<TagStatistics, kMemoryTags> tags_{};
  uint64_t live_bytes_ = 0;
  uint64_t live_objects_ = 0;
  uint64_t peak_bytes_ = 0;
};

// Refuses what would take the device past its limit. reserved_bytes counts memory the device does
// not know of, such as mapped weights.
struct MemoryLimit {
  uint64_t limit_bytes = 0;  // 0 = none
  uint64_t reserved_bytes = 0;

  // Throws OutOfMemoryError with the numbers.
  void check(const Device& device, uint64_t bytes) const;
};

// The baseline: every allocation is a device buffer of its own.
class DirectAllocator final : public Allocator {
 public:
  explicit DirectAllocator(std::shared_ptr<Device> device, MemoryLimit limit = {});
  ~DirectAllocator() override;

  Allocation allocate(uint64_t bytes, MemoryTag tag) override;
  PoolStatistics statistics() const override;
  void reset_statistics() override;
  bool check_integrity() const override;

 private:
  void release(Allocation& allocation) noexcept override;

  std::shared_ptr<Device> device_;
  MemoryLimit limit_;
  std::mutex growth_mutex_;  // between looking at the limit and allocating
  mutable std::mutex mutex_;
  MemoryLedger ledger_;
  uint64_t total_allocations_ = 0;
  uint64_t largest_bytes_ = 0;
};

}  // namespace krserve::runtime
