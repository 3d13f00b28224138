// The CUDA back end: NVIDIA GPUs. The first device that CUDA shows; CUDA_VISIBLE_DEVICES chooses.
#pragma once

#include <memory>

#include "device/device.h"

namespace krserve {

// Whether this krserve has the back end and there is a device for it.
bool has_cuda_device();
// Throws DeviceError with the reason and the remedy.
std::shared_ptr<Device> make_cuda_device();

}  // namespace krserve
