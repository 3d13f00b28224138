#include "runtime/memory_pool/small_cache.h"

#include <algorithm>

namespace krserve::runtime {

uint32_t SmallCache::take_oldest(uint32_t size_class, uint32_t most, HeapBlock* out) {
  Stack& stack = stacks[size_class];
  const uint32_t taken = std::min(most, stack.count);
  for (uint32_t i = 0; i < taken; ++i) {
    out[i] = stack.blocks[i];
    bytes -= out[i].bytes;
  }
  std::move(stack.blocks.begin() + taken, stack.blocks.begin() + stack.count, stack.blocks.begin());
  stack.count -= taken;
  return taken;
}

uint32_t SmallCache::next_victim() {
  for (uint32_t i = 0; i < kSizeClasses; ++i) {
    hand = (hand + 1) % kSizeClasses;
    if (stacks[hand].count > 0) return hand;
  }
  return kSizeClasses;
}

}  // namespace krserve::runtime
