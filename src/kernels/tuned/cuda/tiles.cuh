// What the kernels for many rows share: who adds the slices of a tile, and the end of an output.
#pragma once

#include "kernels/tuned/cuda/rows.cuh"

namespace krserve::kernels::cuda {

inline constexpr uint32_t kTileThreads = 256;

// True in the block that arrives last; it sees what the others wrote.
__device__ __forceinline__ bool arrives_last(uint32_t* arrivals, uint32_t blocks) {
  __shared__ uint32_t before;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    before = atomicAdd(arrivals, 1);
    if (before == blocks - 1) *arrivals = 0;
  }
  __syncthreads();
  __threadfence();
  return before == blocks - 1;
}

// An output from its sum.
__device__ __forceinline__ float finish(float sum, float unscale, const Matrix& matrix,
                                        uint32_t row) {
  const float value = __fmul_rn(sum, unscale);
  return matrix.bias ? __fadd_rn(value, matrix.bias[row]) : value;
}

}  // namespace krserve::kernels::cuda
