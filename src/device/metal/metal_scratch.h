// Shared memory of the back end's own, used again and again: parameters of launches, workspaces.
#pragma once

#include <mutex>
#include <vector>

#include "device/memory_counter.h"
#include "device/metal/api/device.h"
#include "device/metal/metal_residency.h"

namespace krserve {

struct MetalScratch {
  metal::Owned<metal::MTLBuffer> buffer;
  std::byte* contents = nullptr;
  uint64_t gpu_address = 0;
  uint64_t bytes = 0;
};

// Sizes are powers of two. Thread-safe.
class MetalScratchPool {
 public:
  // Takes some of the smallest size at once, so that short programs ask the device for nothing.
  // Throws OutOfMemoryError.
  MetalScratchPool(metal::MTLDevice& device, MetalResidency& residency, MemoryCounter& memory);
  ~MetalScratchPool();
  MetalScratchPool(const MetalScratchPool&) = delete;
  MetalScratchPool& operator=(const MetalScratchPool&) = delete;

  // At least `bytes`; with what was in it before. Throws OutOfMemoryError.
  MetalScratch take(uint64_t bytes);
  // When what used it has ended.
  void give(MetalScratch scratch) noexcept;

 private:
  MetalScratch make(uint64_t bytes);

  metal::MTLDevice& device_;
  MetalResidency& residency_;
  MemoryCounter& memory_;
  std::mutex mutex_;
  std::vector<MetalScratch> free_;
  size_t lent_ = 0;
};

}  // namespace krserve
