// What CUDA says about the device: name, memory, and the facts that the choice of kernels needs.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/cuda_kernels.h"

namespace krserve {

struct CudaFacts {
  int ordinal = 0;
  std::string name;  // "NVIDIA H100 80GB HBM3 (sm_90)"
  uint64_t memory_bytes = 0;
  kernels::cuda::GpuFacts gpu;
};

// Empty if there is a device, else CUDA's reason why there is none.
std::string cuda_missing_reason();
// Makes the device the calling thread's current one. Throws DeviceError.
CudaFacts read_cuda_facts(int ordinal);

}  // namespace krserve
