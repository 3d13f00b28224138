// CUDA's handles of the single-source kernels.
#pragma once

#include "kernels/single_source/kernel_ids.h"

namespace krserve::kernels {

// The __global__ function, for GpuLaunch::kernel.
const void* cuda_dialect_kernel(single_source::KernelId id);

}  // namespace krserve::kernels
