// The SIMT emulator's handles of the kernels.
#pragma once

#include "kernels/tuned/metal/kernel_ids.h"

namespace krserve::kernels {

// A SimtKernel, for GpuLaunch::kernel.
const void* simt_dialect_kernel(single_source::KernelId id);
// The same for the kernel of that number in metal::kernel_names().
const void* simt_metal_kernel(uint32_t number);

}  // namespace krserve::kernels
