#include "kernels/cpu_kernels.h"

#include "kernels/tuned/cpu/tables.h"

namespace krserve::kernels {

bool simd_level_supported(SimdLevel level) {
  if (level == SimdLevel::kPortable) return true;
#ifdef KR_KERNELS_X86
  // These ask the operating system too (XCR0), not the processor alone.
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi") &&
                    __builtin_cpu_supports("bmi2");
  if (level == SimdLevel::kAvx2) return avx2;
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  if (level == SimdLevel::kAvx512) return avx512;
  return avx512 && __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

SimdLevel detect_simd_level() {
  if (simd_level_supported(SimdLevel::kAvx512Vnni)) return SimdLevel::kAvx512Vnni;
  if (simd_level_supported(SimdLevel::kAvx512)) return SimdLevel::kAvx512;
  if (simd_level_supported(SimdLevel::kAvx2)) return SimdLevel::kAvx2;
  return SimdLevel::kPortable;
}

std::string_view to_string(SimdLevel level) {
  switch (level) {
    case SimdLevel::kAvx512Vnni:
      return "avx512_vnni";
    case SimdLevel::kAvx512:
      return "avx512";
    case SimdLevel::kAvx2:
      return "avx2";
    case SimdLevel::kPortable:
      break;
  }
  return "portable";
}

const CpuKernelTable& cpu_kernel_table(SimdLevel level) {
#ifdef KR_KERNELS_X86
  if (level == SimdLevel::kAvx512Vnni) return avx512_vnni::kernel_table();
  if (level == SimdLevel::kAvx512) return avx512::kernel_table();
  if (level == SimdLevel::kAvx2) return avx2::kernel_table();
#else
  static_cast<void>(level);
#endif
  return portable::kernel_table();
}

}  // namespace krserve::kernels
