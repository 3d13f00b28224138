// The pool's counters: what is live and asked for by shard, so that threads do not meet to count.
#pragma once

#include <algorithm>
#include <array>
#include <span>

#include "runtime/statistics.h"

namespace krserve::runtime {

// Counts of the allocations that the threads of one shard made, small or large. A free is counted
// where its allocation was, so nothing is ever below zero. Under the shard's lock.
struct ShardCounts {
  std::array<TagStatistics, kMemoryTags> tags{};  // peaks are since the last look
  uint64_t bytes = 0;
  uint64_t peak_bytes = 0;
  uint64_t allocations = 0;
  uint64_t largest = 0;

  void add(MemoryTag tag, uint64_t held, uint64_t asked, bool tracking) {
    TagStatistics& entry = tags[static_cast<size_t>(tag)];
    entry.bytes += held;
    entry.objects += 1;
    bytes += held;
    if (!tracking) return;
    entry.peak_bytes = std::max(entry.peak_bytes, entry.bytes);
    peak_bytes = std::max(peak_bytes, bytes);
    ++allocations;
    largest = std::max(largest, asked);
  }
  void remove(MemoryTag tag, uint64_t held) {
    TagStatistics& entry = tags[static_cast<size_t>(tag)];
    entry.bytes -= held;
    entry.objects -= 1;
    bytes -= held;
  }
};

// What is counted for the whole pool, under its lock, and the sums over the shards, under all
// locks.
//
// A peak is the highest sum of the shards' peaks between two looks at the statistics: exact when
// one thread allocates, else never below the truth.
class PoolBooks {
 public:
  explicit PoolBooks(std::span<ShardCounts* const> shards) : shards_(shards) {}

  // Under all locks from here on.
  void restart(bool tracking);
  void write(PoolStatistics& out, bool tracking);
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
  void take_peaks();

  const std::span<ShardCounts* const> shards_;
  std::array<uint64_t, kMemoryTags> tag_peaks_{};
  uint64_t peak_bytes_ = 0;
};

}  // namespace krserve::runtime
