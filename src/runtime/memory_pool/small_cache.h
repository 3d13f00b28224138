// A shard of the pool's cache of small free blocks: a stack for each size class, so that most small
// allocations meet neither the heaps nor their lock.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <mutex>

#include "runtime/memory_pool/heap_set.h"
#include "runtime/memory_pool/pool_books.h"
#include "runtime/memory_pool/size_classes.h"

namespace krserve::runtime {

// A shard serves the threads that are dealt to it; a block goes back to the shard it came from. On
// cache lines of its own.
struct alignas(128) SmallCache {
  static constexpr uint32_t kDepth = 32;               // most blocks of a class,
  static constexpr uint64_t kClassBytes = 256 * 1024;  // most bytes of one,
  static constexpr uint32_t kLeastDepth = 8;           // but so many blocks in any case
  static constexpr uint32_t kBatch = 8;  // most that move to or from the heaps at once

  struct Stack {
    uint32_t count = 0;
    std::array<HeapBlock, kDepth> blocks;
  };

  static uint32_t depth_for(uint64_t block_bytes) {
    const auto fit = static_cast<uint32_t>(std::min<uint64_t>(kClassBytes / block_bytes, kDepth));
    return std::max(fit, kLeastDepth);
  }
  static uint32_t batch_for(uint64_t block_bytes) {
    return std::min(kBatch, depth_for(block_bytes) / 2);
  }
  void push(uint32_t size_class, const HeapBlock& block) {
    Stack& stack = stacks[size_class];
    stack.blocks[stack.count++] = block;
    bytes += block.bytes;
  }
  HeapBlock pop(uint32_t size_class) {
    Stack& stack = stacks[size_class];
    const HeapBlock block = stack.blocks[--stack.count];
    bytes -= block.bytes;
    return block;
  }
  // Moves the blocks that waited longest out, at most `most`; returns how many.
  uint32_t take_oldest(uint32_t size_class, uint32_t most, HeapBlock* out);
  // A class with blocks in it, another one at each call; kSizeClasses if there is none.
  uint32_t next_victim();

  std::mutex mutex;  // taken before the pool's
  ShardCounts counts;
  uint64_t bytes = 0;  // of the blocks that wait here
  uint32_t hand = 0;
  std::array<Stack, kSizeClasses> stacks;
};

}  // namespace krserve::runtime
