#include "device/memory_counter.h"

namespace krserve {

void MemoryCounter::add(uint64_t bytes) noexcept {
  allocations_.fetch_add(1, std::memory_order_relaxed);
  const uint64_t live = live_bytes_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  uint64_t peak = peak_bytes_.load(std::memory_order_relaxed);
  while (live > peak && !peak_bytes_.compare_exchange_weak(peak, live, std::memory_order_relaxed)) {
  }
}

void MemoryCounter::remove(uint64_t bytes) noexcept {
  live_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
}

DeviceMemory MemoryCounter::snapshot() const {
  return {allocations_.load(std::memory_order_relaxed), live_bytes_.load(std::memory_order_relaxed),
          peak_bytes_.load(std::memory_order_relaxed)};
}

}  // namespace krserve
