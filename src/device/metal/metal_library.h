// The kernels as Metal's pipelines.
#pragma once

#include <mutex>
#include <string>
#include <vector>

#include "device/metal/metal_facts.h"

namespace krserve {

class MetalLibrary {
 public:
  // From `file`, made at build time, or by compiling the kernels' text. Throws DeviceError with
  // what Metal's compiler says.
  MetalLibrary(metal::MTLDevice& device, const MetalFacts& facts, const std::string& file);

  // The pipeline of a kernel's number; made on first use. Throws DeviceError. Thread-safe.
  metal::MTLComputePipelineState* pipeline(uint32_t kernel);

 private:
  metal::MTLDevice& device_;
  metal::Owned<metal::MTLLibrary> library_;
  std::mutex mutex_;
  std::vector<metal::Owned<metal::MTLComputePipelineState>> pipelines_;
};

}  // namespace krserve
