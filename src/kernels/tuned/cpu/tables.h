// The tables of the instruction sets the kernels are compiled for.
#pragma once

#include "kernels/cpu_kernels.h"

namespace krserve::kernels {

namespace portable {
const CpuKernelTable& kernel_table();
}
namespace avx2 {
const CpuKernelTable& kernel_table();
}
namespace avx512 {
const CpuKernelTable& kernel_table();
}
namespace avx512_vnni {
const CpuKernelTable& kernel_table();
}

}  // namespace krserve::kernels
