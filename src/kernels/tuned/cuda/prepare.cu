// Rows made ready for the matmul kernels, and norms and gates alone: a block per row.
#include "kernels/tuned/cuda/rows.cuh"
#include "kernels/tuned/cuda/with_format.h"

namespace krserve::kernels::cuda {
namespace {

template <WeightFormat kFormat, RowSource kSource, bool kWarpgroup>
__global__ void __launch_bounds__(kRowThreads)
    prepare_kernel(const __grid_constant__ PrepareParams p) {
  __shared__ float memory[16];
  let_next_begin();
  const uint32_t rows = *p.row_count;
  if constexpr (kSource == RowSource::kNorm) touch_norm_weight(p.other, p.k);
  wait_for_previous();
  const size_t padded = padded_k(p.k);
  for (uint32_t r = blockIdx.x; r < rows; r += gridDim.x) {
    const size_t at = static_cast<size_t>(r) * p.k;
    const RowInput in{p.x + at, kSource == RowSource::kSilu ? p.other + at : p.other, p.k, p.eps};
    half* halves = p.halves ? reinterpret_cast<half*>(p.halves) + r * padded : nullptr;
    const float unscale = prepare_row<kFormat, kSource, kWarpgroup>(
        in, p.values ? p.values + at : nullptr, halves, memory);
    if (p.halves && threadIdx.x == 0) p.unscale[r] = unscale;
    __syncthreads();
  }
}

template <WeightFormat kFormat, bool kWarpgroup>
const void* prepare_of(RowSource source) {
  switch (source) {
    case RowSource::kNorm:
      return reinterpret_cast<const void*>(&prepare_kernel<kFormat, RowSource::kNorm, kWarpgroup>);
    case RowSource::kSilu:
      return reinterpret_cast<const void*>(&prepare_kernel<kFormat, RowSource::kSilu, kWarpgroup>);
    case RowSource::kPlain:
      break;
  }
  return reinterpret_cast<const void*>(&prepare_kernel<kFormat, RowSource::kPlain, kWarpgroup>);
}

template <WeightFormat kFormat>
const void* prepare_of(RowSource source, bool warpgroup) {
  return warpgroup ? prepare_of<kFormat, true>(source) : prepare_of<kFormat, false>(source);
}

}  // namespace

const void* prepare_kernel_for(ops::WeightFormat format, RowSource source, bool warpgroup) {
  // The 16-bit formats have one order.
  const bool q = format == WeightFormat::kQ4 || format == WeightFormat::kQ8;
  return with_format(q ? format : WeightFormat::kF16, [&](auto f) {
    // What bf16 would need is not compiled.
    constexpr WeightFormat kFormat =
        decltype(f)::value == WeightFormat::kBF16 ? WeightFormat::kF16 : decltype(f)::value;
    return prepare_of<kFormat>(source, warpgroup);
  });
}

}  // namespace krserve::kernels::cuda
