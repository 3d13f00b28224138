// Keeps all memory of the device resident: Metal binds none of it by itself, as kernels find their
// buffers by address.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "device/metal/api/device.h"

namespace krserve {

// A system that sees the GPU idle unwires its memory after a second, and the next step takes many
// times as long. So a heartbeat asks for residency, for a while after the last use. Thread-safe.
class MetalResidency {
 public:
  // Without residency sets (before macOS 15), encoders name what they use, and there is no
  // heartbeat. Throws DeviceError.
  MetalResidency(metal::MTLDevice& device, bool has_sets, std::chrono::nanoseconds keep);
  ~MetalResidency();
  MetalResidency(const MetalResidency&) = delete;
  MetalResidency& operator=(const MetalResidency&) = delete;

  void add(const metal::MTLHeap* heap) { add(heap, true); }
  void add(const metal::MTLBuffer* buffer) { add(buffer, false); }
  // It may be released afterwards.
  void remove(const metal::MTLAllocation* allocation);
  // Before each commit: what was added counts from here on, and the memory is in use.
  void touch();

  // For queues; null without residency sets.
  const metal::MTLResidencySet* set() const { return set_.get(); }
  // For the encoders of a device without residency sets.
  void name_all(metal::MTLComputeCommandEncoder& encoder);

 private:
  // Without sets.
  struct Named {
    const metal::MTLAllocation* allocation;
    bool is_heap;
  };

  void add(const metal::MTLAllocation* allocation, bool is_heap);
  void beat();
  void commit_locked();

  const std::chrono::nanoseconds keep_;
  metal::Owned<metal::MTLResidencySet> set_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Named> named_;
  bool changed_ = false;
  bool added_ = false;
  bool stopping_ = false;
  uint64_t last_use_ns_ = 0;
  std::thread heartbeat_;
};

}  // namespace krserve
