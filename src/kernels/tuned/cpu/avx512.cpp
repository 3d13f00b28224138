#define KR_CPU_ISA avx512
#define KR_CPU_LEVEL SimdLevel::kAvx512
#include "kernels/tuned/cpu/kernel_table.h"

namespace krserve::kernels::avx512 {

const CpuKernelTable& kernel_table() {
  return kKernelTable;
}

}  // namespace krserve::kernels::avx512
