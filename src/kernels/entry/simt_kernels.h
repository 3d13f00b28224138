// The SIMT emulator's handles of the single-source kernels.
#pragma once

#include "kernels/single_source/kernel_ids.h"

namespace krserve::kernels {

// A SimtKernel, for GpuLaunch::kernel.
const void* simt_dialect_kernel(single_source::KernelId id);

}  // namespace krserve::kernels
