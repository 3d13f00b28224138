// Copies from, to and within memory that only the GPU reaches, one after the other.
#pragma once

#include <memory>

#include "device/metal/metal_context.h"
#include "device/metal/metal_memory.h"
#include "device/metal/metal_program.h"
#include "device/queue.h"

namespace krserve {

// Not thread-safe.
class MetalTransfer {
 public:
  // Throws DeviceError, OutOfMemoryError.
  explicit MetalTransfer(std::shared_ptr<MetalContext> context);
  ~MetalTransfer();

  // A copy or a fill, done when it returns. Throws DeviceError.
  void run(const MetalCommand& command);

 private:
  void run_on_gpu(const MetalCommand& command);
  // Through staging memory, a piece at a time.
  void upload(const MetalCommand& command);
  void download(const MetalCommand& command);

  const std::shared_ptr<MetalContext> context_;
  const std::unique_ptr<Queue> queue_;
  const std::shared_ptr<Timeline> done_;
  uint64_t value_ = 0;
  MetalScratch staging_;
};

}  // namespace krserve
