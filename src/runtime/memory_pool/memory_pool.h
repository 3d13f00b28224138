// MemoryPool: pre-allocated heaps from the device, TLSF over offsets inside them, on-demand buffers
// when they are full.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "config/runtime_config.h"
#include "runtime/memory_pool/allocator.h"
#include "runtime/memory_pool/tlsf.h"

namespace krserve::runtime {

class MemoryPool final : public Allocator {
 public:
  // Makes all heaps and warms up the listed sizes (those larger than a heap are skipped with a
  // warning). Throws OutOfMemoryError if a heap cannot be had, ConfigError for sizes that are not
  // positive.
  MemoryPool(std::shared_ptr<Device> device, const MemoryPoolConfig& config,
             MemoryLimit limit = {});
  // Reports what is still allocated as a leak.
  ~MemoryPool() override;

  Allocation allocate(uint64_t bytes, MemoryTag tag) override;
  PoolStatistics statistics() const override;
  void reset_statistics() override;
  bool check_integrity() const override;

 private:
  struct PoolHeap {
    std::unique_ptr<Heap> heap;
    Tlsf blocks;
  };

  void release(Allocation& allocation) noexcept override;
  void add_heap(uint64_t bytes);
  void warm_up(const std::vector<int64_t>& sizes_mb);
  // False if no heap has room.
  bool allocate_from_heaps(uint64_t bytes, Allocation& out);
  // With mutex_ held, when the allocation has succeeded.
  void enter(const Allocation& allocation);
  void log_exhaustion(uint64_t bytes);
  uint64_t free_bytes() const;
  uint64_t largest_free_bytes() const;

  std::shared_ptr<Device> device_;
  const MemoryPoolConfig config_;
  const MemoryLimit limit_;

  std::mutex growth_mutex_;  // between looking at the limit and allocating
  mutable std::mutex mutex_;
  std::vector<PoolHeap> heaps_;
  MemoryLedger ledger_;
  uint64_t total_allocations_ = 0;
  uint64_t fallback_allocations_ = 0;
  uint64_t largest_bytes_ = 0;
  uint64_t exhaustions_ = 0;
  uint64_t device_allocations_ = 0;
  uint64_t on_demand_objects_ = 0;
  uint64_t on_demand_bytes_ = 0;
  bool exhausted_ = false;  // inside a burst of fallbacks: logged once
};

}  // namespace krserve::runtime
