// The AVX-512 kernels, with 4-bit matmul on integer dot products.
#define KR_CPU_ISA avx512_vnni
#include "kernels/tuned/cpu/matmul_vnni.h"
#include "kernels/tuned/cpu/tables.h"

namespace krserve::kernels::avx512_vnni {
namespace {

constexpr auto kMatmul = static_cast<uint32_t>(ops::Op::kMatmul);

uint32_t matmul_tasks(const Call& call) {
  if (runs_on_integers(args_of<MatmulArgs>(call).weight)) return integer_matmul_tasks(call);
  return avx512::kernel_table().kernels[kMatmul].task_count(call);
}

void matmul_run(const Call& call, uint32_t begin, uint32_t end, Scratch& scratch) {
  if (runs_on_integers(args_of<MatmulArgs>(call).weight)) {
    return integer_matmul_run(call, begin, end, scratch);
  }
  avx512::kernel_table().kernels[kMatmul].run(call, begin, end, scratch);
}

CpuKernelTable make_table() {
  CpuKernelTable table = avx512::kernel_table();
  table.kernels[kMatmul] = {matmul_tasks, matmul_run};
  table.level = SimdLevel::kAvx512Vnni;
  return table;
}

}  // namespace

const CpuKernelTable& kernel_table() {
  static const CpuKernelTable table = make_table();
  return table;
}

}  // namespace krserve::kernels::avx512_vnni
