#define KR_CPU_ISA avx2
#define KR_CPU_LEVEL SimdLevel::kAvx2
#include "kernels/tuned/cpu/kernel_table.h"

namespace krserve::kernels::avx2 {

const CpuKernelTable& kernel_table() {
  return kKernelTable;
}

}  // namespace krserve::kernels::avx2
