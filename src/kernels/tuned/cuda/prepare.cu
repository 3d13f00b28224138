// Rows made ready for the matmul kernels, and norms and gates alone: a block per row.
#include "kernels/tuned/cuda/matmul_kernels.h"
#include "kernels/tuned/cuda/rows.cuh"

namespace krserve::kernels::cuda {
namespace {

template <WeightFormat kFormat, RowSource kSource>
__global__ void __launch_bounds__(kRowThreads)
    prepare_kernel(const __grid_constant__ PrepareParams p) {
  __shared__ float memory[16];
  let_next_begin();
  wait_for_previous();
  const uint32_t rows = *p.row_count;
  const size_t padded = padded_k(p.k);
  for (uint32_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const size_t at = static_cast<size_t>(r) * p.k;
    const RowInput in{p.x + at, kSource == RowSource::kSilu ? p.other + at : p.other, p.k, p.eps};
    half* halves = p.halves ? reinterpret_cast<half*>(p.halves) + r * padded : nullptr;
    const float unscale =
        prepare_row<kFormat, kSource>(in, p.values ? p.values + at : nullptr, halves, memory);
    if (p.halves && threadIdx.x == 0) p.unscale[r] = unscale;
    __syncthreads();
  }
}

template <WeightFormat kFormat>
const void* prepare_of(PrepareSource source) {
  switch (source) {
    case PrepareSource::kNorm:
      return reinterpret_cast<const void*>(&prepare_kernel<kFormat, RowSource::kNorm>);
    case PrepareSource::kSilu:
      return reinterpret_cast<const void*>(&prepare_kernel<kFormat, RowSource::kSilu>);
    case PrepareSource::kPlain:
      break;
  }
  return reinterpret_cast<const void*>(&prepare_kernel<kFormat, RowSource::kPlain>);
}

}  // namespace

const void* prepare_kernel_for(ops::WeightFormat format, PrepareSource source) {
  switch (format) {
    case WeightFormat::kQ4:
      return prepare_of<WeightFormat::kQ4>(source);
    case WeightFormat::kQ8:
      return prepare_of<WeightFormat::kQ8>(source);
    case WeightFormat::kF16:
    case WeightFormat::kBF16:  // the same order as f16
    case WeightFormat::kF32:
      break;
  }
  return prepare_of<WeightFormat::kF16>(source);
}

}  // namespace krserve::kernels::cuda
