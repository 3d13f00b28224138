// MemoryPool: pre-allocated heaps from the device, TLSF over offsets inside them, caches of small
// blocks in front, on-demand buffers when all are full.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <vector>

#include "config/runtime_config.h"
#include "runtime/memory_pool/allocator.h"
#include "runtime/memory_pool/heap_set.h"
#include "runtime/memory_pool/pool_books.h"

namespace krserve::runtime {

struct SmallCache;

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
  // Gives heaps that it grew by, and that are empty, back.
  uint64_t trim() override;
  PoolStatistics statistics() const override;
  void reset_statistics() override;
  bool check_integrity() const override;

 private:
  static constexpr uint32_t kShards = 8;

  void release(Allocation& allocation) noexcept override;
  void collected(bool all) override;
  uint64_t heap_bytes() const;
  void make_heaps();
  void add_heap(uint64_t bytes, bool grown);
  void warm_up(const std::vector<int64_t>& sizes_mb);

  // False if the heaps have no room.
  bool allocate_cached(uint64_t bytes, Allocation& out);
  bool allocate_from_heaps(uint64_t bytes, Allocation& out);
  // False if growth is off or refused.
  bool allocate_grown(uint64_t bytes, Allocation& out);
  // A device buffer of its own.
  void allocate_on_demand(uint64_t bytes, Allocation& out);
  // With the shard's lock.
  void hand_out(SmallCache& shard, const HeapBlock& block, uint64_t bytes, Allocation& out);
  bool refill(SmallCache& shard, uint32_t size_class);
  void put_back(SmallCache& shard, uint32_t size_class, const HeapBlock& block);
  void flush(SmallCache& shard, uint32_t size_class, uint32_t most);
  // Without a lock: frees that are due and cached blocks become free memory.
  void merge_free();
  // The same for blocks that warm-up cut.
  void merge_set_aside();

  void note_exhaustion(uint64_t bytes);
  // Every lock, in order: shards, then the heaps'.
  std::vector<std::unique_lock<std::mutex>> lock_all() const;
  uint64_t cached_blocks(uint32_t heap) const;

  std::shared_ptr<Device> device_;
  const MemoryPoolConfig config_;
  const MemoryLimit limit_;

  std::unique_ptr<SmallCache[]> shards_;
  std::array<ShardCounts*, kShards> counts_{};
  uint64_t cached_bytes_ = 0;        // allocations up to this size come through a shard's cache
  uint64_t shard_budget_bytes_ = 0;  // most that may wait in one

  std::mutex growth_mutex_;  // between looking at the limit and allocating
  mutable std::mutex mutex_;
  HeapSet heaps_;
  mutable PoolBooks books_;
  // Inside a burst of fallbacks, the smallest size that met no room; else 0. Logged once a burst.
  uint64_t burst_bytes_ = 0;
};

}  // namespace krserve::runtime
