#define KR_CPU_ISA portable
#define KR_CPU_LEVEL SimdLevel::kPortable
#include "kernels/tuned/cpu/kernel_table.h"

namespace krserve::kernels::portable {

const CpuKernelTable& kernel_table() {
  return kKernelTable;
}

}  // namespace krserve::kernels::portable
