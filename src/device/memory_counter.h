// What has been asked of a device, counted as its buffers come and go.
#pragma once

#include <atomic>

#include "device/device.h"

namespace krserve {

class MemoryCounter {
 public:
  void add(uint64_t bytes) noexcept;
  void remove(uint64_t bytes) noexcept;
  DeviceMemory snapshot() const;

 private:
  std::atomic<uint64_t> allocations_{0};
  std::atomic<uint64_t> live_bytes_{0};
  std::atomic<uint64_t> peak_bytes_{0};
};

}  // namespace krserve
