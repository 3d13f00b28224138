#include "kernels/kernel_test.h"

namespace krserve::kernels {
namespace {

TEST(Levels, TheDetectedLevelIsSupportedAndTheHighest) {
  const SimdLevel best = detect_simd_level();
  EXPECT_TRUE(simd_level_supported(best));
  for (const SimdLevel level : kAllSimdLevels) {
    if (simd_level_supported(level)) {
      EXPECT_LE(level, best);
    }
  }
}

TEST(Levels, EveryTableNamesItsLevelAndHasEveryOp) {
  for (const SimdLevel level : kAllSimdLevels) {
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

TEST(Levels, ScratchKeepsContentsForTheSameSerialOnly) {
  Scratch scratch;
  EXPECT_FALSE(scratch.reserve_for(7, 100).kept);
  std::memset(scratch.reserve_for(7, 100).memory, 5, 100);
  const Scratch::Reserved same = scratch.reserve_for(7, 100);
  EXPECT_TRUE(same.kept);
  EXPECT_EQ(static_cast<const uint8_t*>(same.memory)[99], 5);
  EXPECT_FALSE(scratch.reserve_for(8, 100).kept);
  EXPECT_FALSE(scratch.reserve_for(0, 100).kept);
  EXPECT_FALSE(scratch.reserve_for(0, 100).kept);  // 0 stands for "not known"
  scratch.reserve_for(9, 100);
  scratch.reserve(100);
  EXPECT_FALSE(scratch.reserve_for(9, 100).kept);
  EXPECT_FALSE(scratch.reserve_for(9, 100000).kept);  // it had to grow
}

}  // namespace
}  // namespace krserve::kernels
