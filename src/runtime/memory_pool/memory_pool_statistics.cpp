// The pool's statistics and the check of its books; both look at everything under all locks.
#include "base/units.h"
#include "runtime/memory_pool/memory_pool.h"
#include "runtime/memory_pool/small_cache.h"

namespace krserve::runtime {

std::vector<std::unique_lock<std::mutex>> MemoryPool::lock_all() const {
  std::vector<std::unique_lock<std::mutex>> locks;
  for (uint32_t i = 0; i < kShards; ++i) locks.emplace_back(shards_[i].mutex);
  locks.emplace_back(mutex_);
  return locks;
}

uint64_t MemoryPool::cached_blocks(uint32_t heap) const {
  uint64_t count = 0;
  for (uint32_t i = 0; i < kShards; ++i) {
    for (const SmallCache::Stack& stack : shards_[i].stacks) {
      for (uint32_t n = 0; n < stack.count; ++n) count += stack.blocks[n].heap == heap ? 1 : 0;
    }
  }
  return count;
}

PoolStatistics MemoryPool::statistics() const {
  const auto locks = lock_all();
  PoolStatistics out;
  out.enabled = true;
  out.total_heaps = heaps_.heaps();
  out.heap_bytes = heaps_.bytes();
  uint64_t whole = 0;  // free bytes that are the largest free block of their heap
  for (uint32_t i = 0; i < heaps_.slots(); ++i) {
    out.active_heaps += heaps_.taken_blocks(i) > cached_blocks(i) ? 1 : 0;
    whole += heaps_.largest_free_bytes(i);
  }
  for (uint32_t i = 0; i < kShards; ++i) out.cached_bytes += shards_[i].bytes;
  books_.write(out, config_.track_statistics);
  const auto heap_bytes = static_cast<double>(out.heap_bytes);
  const uint64_t live_in_heaps = out.live_bytes - out.on_demand_bytes;
  const uint64_t free = out.heap_bytes - live_in_heaps;
  out.utilization = out.heap_bytes ? static_cast<double>(live_in_heaps) / heap_bytes : 0;
  out.largest_free_block_bytes = heaps_.largest_free_bytes();
  out.fragmentation = free ? 1.0 - static_cast<double>(whole) / static_cast<double>(free) : 0;
  return out;
}

void MemoryPool::reset_statistics() {
  const auto locks = lock_all();
  books_.restart(config_.track_statistics);
}

bool MemoryPool::check_integrity() const {
  const auto locks = lock_all();
  if (!heaps_.check_integrity()) return false;
  uint64_t blocks = 0;
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < kShards; ++i) {
    uint64_t in_shard = 0;
    for (const SmallCache::Stack& stack : shards_[i].stacks) {
      for (uint32_t n = 0; n < stack.count; ++n) {
        if (!heaps_.is_taken(stack.blocks[n])) return false;
        in_shard += stack.blocks[n].bytes;
      }
      blocks += stack.count;
    }
    if (in_shard != shards_[i].bytes) return false;
    bytes += in_shard;
  }
  return heaps_.taken_blocks() == blocks + books_.live_objects() - books_.on_demand_objects &&
         heaps_.taken_bytes() == bytes + books_.live_bytes() - books_.on_demand_bytes;
}

}  // namespace krserve::runtime
