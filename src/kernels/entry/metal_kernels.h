// Metal's handles of the single-source kernels.
#pragma once

#include "kernels/single_source/kernel_ids.h"

namespace krserve::kernels {

// An element of metal::kernel_names(), for GpuLaunch::kernel.
const void* metal_dialect_kernel(single_source::KernelId id);

}  // namespace krserve::kernels
