// The CUDA back end: NVIDIA GPUs. The first device that CUDA shows; CUDA_VISIBLE_DEVICES chooses.
#pragma once

#include <chrono>
#include <memory>

#include "device/device.h"

namespace krserve {

struct CudaDeviceOptions {
  // For what is on the stream of a queue that is destroyed. Longer than this is a kernel that
  // hangs.
  std::chrono::milliseconds close_patience{10'000};
};

// Whether this krserve has the back end and there is a device for it.
bool has_cuda_device();
// Throws DeviceError with the reason and the remedy.
std::shared_ptr<Device> make_cuda_device(const CudaDeviceOptions& options = {});

}  // namespace krserve
