// The pool's counters: some kept for each shard of the small-block cache, the rest for all.
#pragma once

#include <array>
#include <atomic>
#include <span>

#include "runtime/statistics.h"

namespace krserve::runtime {

// Counts of one shard. Writers hold the shard's lock, so plain loads and stores do; the atomics
// are for those who add up all shards meanwhile.
struct ShardCounts {
  using Count = std::atomic<uint64_t>;

  std::array<Count, kMemoryTags> bytes{};
  std::array<Count, kMemoryTags> objects{};
  std::array<Count, kMemoryTags> high{};  // most bytes since the last look
  Count total{0};
  Count total_high{0};
  Count allocations{0};
  Count largest{0};

  void add(MemoryTag tag, uint64_t held, uint64_t asked, bool tracking) {
    const auto i = static_cast<size_t>(tag);
    const uint64_t now = bump(bytes[i], held);
    const uint64_t all = bump(total, held);
    bump(objects[i], 1);
    if (!tracking) return;
    raise(high[i], now);
    raise(total_high, all);
    bump(allocations, 1);
    raise(largest, asked);
  }
  void remove(MemoryTag tag, uint64_t held) {
    const auto i = static_cast<size_t>(tag);
    bump(bytes[i], ~held + 1);
    bump(total, ~held + 1);
    bump(objects[i], UINT64_MAX);
  }

  static uint64_t get(const Count& count) { return count.load(std::memory_order_relaxed); }
  static void set(Count& count, uint64_t value) { count.store(value, std::memory_order_relaxed); }

 private:
  static uint64_t bump(Count& count, uint64_t by) {
    const uint64_t value = get(count) + by;
    set(count, value);
    return value;
  }
  static void raise(Count& count, uint64_t value) {
    if (value > get(count)) set(count, value);
  }
};

// What is not in a shard, and the peaks of both together. Under the pool's lock.
//
// A peak is taken whenever this half changes: then what is live here was constant since the last
// look, and the shards remember their highest. With one thread that is exact; with more it is never
// below what one look would see, and above it by no more than the caches hold.
class PoolBooks {
 public:
  PoolBooks(bool tracking, std::span<ShardCounts* const> shards)
      : tracking_(tracking), shards_(shards) {}

  void add(MemoryTag tag, uint64_t held, uint64_t asked);
  void remove(MemoryTag tag, uint64_t held);
  void take_peaks();

  // With the shards' locks as well.
  void restart();
  void write(PoolStatistics& out);
  uint64_t live_bytes() const;
  uint64_t live_objects() const;

  uint64_t fallbacks = 0;
  uint64_t exhaustions = 0;
  uint64_t device_allocations = 0;  // ever
  uint64_t heaps_grown = 0;         // ever
  uint64_t heaps_trimmed = 0;       // ever
  uint64_t on_demand_objects = 0;
  uint64_t on_demand_bytes = 0;

 private:
  const bool tracking_;
  const std::span<ShardCounts* const> shards_;
  std::array<TagStatistics, kMemoryTags> tags_{};
  uint64_t bytes_ = 0;
  uint64_t peak_bytes_ = 0;
  uint64_t allocations_ = 0;
  uint64_t largest_ = 0;
};

}  // namespace krserve::runtime
