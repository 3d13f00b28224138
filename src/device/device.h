// The seam between krserve and the hardware: one Device per back end, few virtuals, facts in a
// struct.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "device/buffer.h"
#include "device/metal/metal_options.h"
#include "device/queue.h"
#include "device/timeline.h"

namespace krserve {

struct DeviceInfo {
  std::string backend;  // "cpu", "fake", "cuda", "metal"
  std::string name;     // "AMD EPYC (2 workers, avx512)"
  uint64_t memory_bytes = 0;
  bool unified_memory = false;  // host stores into kShared and heaps are seen by the device
  uint32_t alignment_bytes = 64;
  uint32_t weight_alignment_bytes = 1;  // kernels read weights at multiples of this
  // Background copies above this rate slow the steps beside them, in MiB/s; 0 = no such rate.
  uint32_t background_copy_mb_per_s = 0;
  // Kernels read the row count from StepParams, so one recording serves every batch size.
  bool dynamic_rows = false;
  // Rows of prompts take a matmul of their own (ops::kMatmulPrompts), so that recordings of steps
  // without any are kept apart.
  bool prompt_matmul = false;
};

// What was asked of the device itself since it was made.
struct DeviceMemory {
  uint64_t allocations = 0;  // heaps and buffers ever made (wrapped host memory not counted)
  uint64_t live_bytes = 0;
  uint64_t peak_bytes = 0;
};

class Device {
 public:
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  virtual ~Device() = default;

  virtual const DeviceInfo& info() const = 0;
  // Both throw OutOfMemoryError.
  virtual std::unique_ptr<Heap> new_heap(uint64_t bytes, Storage storage) = 0;
  virtual std::unique_ptr<Buffer> new_buffer(uint64_t bytes, Storage storage) = 0;
  // A buffer over host memory without a copy, read by the device only; null where the device
  // cannot. The memory must outlive it.
  virtual std::unique_ptr<Buffer> wrap_host_memory(const void* data, uint64_t bytes) = 0;
  // Pageable host memory as source or destination of a copy on a copy queue; kernels cannot bind
  // it.
  virtual std::unique_ptr<Buffer> new_host_view(void* data, uint64_t bytes) = 0;
  virtual std::shared_ptr<Queue> new_queue(QueueKind kind) = 0;
  virtual std::shared_ptr<Timeline> new_timeline() = 0;
  virtual DeviceMemory memory() const = 0;
  // The clock of the timestamps, now.
  virtual uint64_t clock_ns() const = 0;
};

struct DeviceOptions {
  std::string backend = "cpu";  // "auto", "cpu", "cuda", "metal"
  uint32_t threads = 0;         // CPU workers; 0 = all cores
  MetalDeviceOptions metal = {};
};

// Throws ConfigError for an unknown name, DeviceError for a back end that is not in this build or
// has no device here. "auto" takes the best there is.
std::shared_ptr<Device> make_device(const DeviceOptions& options);

}  // namespace krserve
