#include "kernels/kernel_test.h"

namespace krserve::kernels {
namespace {

TEST(Levels, TheDetectedLevelIsSupportedAndTheHighest) {
  const SimdLevel best = detect_simd_level();
  EXPECT_TRUE(simd_level_supported(best));
  for (const SimdLevel level : {SimdLevel::kPortable, SimdLevel::kAvx2, SimdLevel::kAvx512}) {
    if (simd_level_supported(level)) {
      EXPECT_LE(level, best);
    }
  }
}

TEST(Levels, EveryTableNamesItsLevelAndHasEveryOp) {
  for (const SimdLevel level : {SimdLevel::kPortable, SimdLevel::kAvx2, SimdLevel::kAvx512}) {
    if (!simd_level_supported(level)) continue;
    const CpuKernelTable& table = cpu_kernel_table(level);
    EXPECT_EQ(table.level, level);
    for (const CpuKernel& kernel : table.kernels) {
      EXPECT_NE(kernel.task_count, nullptr);
      EXPECT_NE(kernel.run, nullptr);
    }
  }
}

TEST(Levels, ScratchIsAlignedAndGrows) {
  Scratch scratch;
  for (const size_t bytes : {1u, 100u, 4096u, 50u}) {
    void* memory = scratch.reserve(bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % 64, 0u);
    std::memset(memory, 1, bytes);
  }
}

}  // namespace
}  // namespace krserve::kernels
