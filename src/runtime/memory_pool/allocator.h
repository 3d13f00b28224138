// Where steps, caches and weights get device memory from: the pool, or the device itself when the
// pool is off.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "device/device.h"
#include "runtime/memory_pool/allocation.h"
#include "runtime/memory_pool/deferred_frees.h"
#include "runtime/statistics.h"

namespace krserve::runtime {

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
  void free_after(Allocation allocation, TimelinePoint point) {
    deferred_.add(std::move(allocation), std::move(point));
  }
  // Frees what is due; with `all`, everything deferred (the device is idle or gone), and blocks
  // kept for reuse are merged again.
  void collect(bool all = false) {
    deferred_.free_due(all);
    collected(all);
  }
  // Gives memory that it holds beyond its fixed size, and that nobody uses, back to the device;
  // returns how many bytes. For times without work.
  virtual uint64_t trim() { return 0; }

  virtual PoolStatistics statistics() const = 0;
  virtual void reset_statistics() = 0;
  // True when free + live == total and the books agree.
  virtual bool check_integrity() const = 0;

 protected:
  friend class Allocation;
  friend class AllocatorAdaptor;
  virtual void release(Allocation& allocation) noexcept = 0;
  // The rest of collect().
  virtual void collected(bool all) { (void)all; }
  void free_due() {
    if (deferred_.pending()) deferred_.free_due(false);
  }

 private:
  DeferredFrees deferred_;
};

// Live, peak and per-tag counts. Not thread-safe.
class MemoryLedger {
 public:
  void add(MemoryTag tag, uint64_t bytes);
  void remove(MemoryTag tag, uint64_t bytes);
  void restart_peaks();
  void write(PoolStatistics& out) const;
  // True when the tags add up to the totals.
  bool balanced() const;

 private:
  std::array<TagStatistics, kMemoryTags> tags_{};
  uint64_t live_bytes_ = 0;
  uint64_t live_objects_ = 0;
  uint64_t peak_bytes_ = 0;
};

// "kv: 2 objects, 64.0 MiB; other: ..."; empty when nothing is live.
std::string describe_live(const std::array<TagStatistics, kMemoryTags>& tags);

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
