// Rows of activations made ready for the tensor cores: normalized or gated in f32, then halves in
// the order of the sums, scaled by a power of two per row so that none overflows.
#pragma once

#include "kernels/tuned/cuda/weights.cuh"

namespace krserve::kernels::cuda {

inline constexpr uint32_t kRowThreads = 256;

struct RowInput {
  const float* x;      // [k]
  const float* other;  // as the source says
  uint32_t k;          // a multiple of 8
  float eps;
};

// Sum or maximum over the block, the same for every thread and every run. `memory`: one float per
// warp; may be used again after the next barrier.
template <bool kMax>
__device__ __forceinline__ float block_reduce(float value, float* memory) {
#pragma unroll
  for (uint32_t offset = 16; offset > 0; offset /= 2) {
    const float other = __shfl_xor_sync(0xffffffffU, value, offset);
    value = kMax ? fmaxf(value, other) : __fadd_rn(value, other);
  }
  if (threadIdx.x % 32 == 0) memory[threadIdx.x / 32] = value;
  __syncthreads();
  value = memory[0];
  for (uint32_t w = 1; w < kRowThreads / 32; ++w) {
    value = kMax ? fmaxf(value, memory[w]) : __fadd_rn(value, memory[w]);
  }
  return value;
}

__device__ __forceinline__ float silu(float x) {
  return __fdiv_rn(x, __fadd_rn(1.0F, __expf(-x)));
}

template <RowSource kSource>
__device__ __forceinline__ void row_values(const RowInput& in, uint32_t at, float inverse,
                                           float (&v)[8]) {
#pragma unroll
  for (uint32_t i = 0; i < 8; i += 4) {
    const float4 x = *reinterpret_cast<const float4*>(in.x + at + i);
    v[i] = x.x, v[i + 1] = x.y, v[i + 2] = x.z, v[i + 3] = x.w;
    if constexpr (kSource == RowSource::kPlain) continue;
    const float4 o = *reinterpret_cast<const float4*>(in.other + at + i);
    const float other[4] = {o.x, o.y, o.z, o.w};
#pragma unroll
    for (uint32_t j = 0; j < 4; ++j) {
      float& e = v[i + j];
      if constexpr (kSource == RowSource::kNorm) e = __fmul_rn(__fmul_rn(e, inverse), other[j]);
      if constexpr (kSource == RowSource::kSilu) e = __fmul_rn(silu(e), other[j]);
    }
  }
}

template <RowSource kSource>
__device__ __forceinline__ float inverse_rms(const RowInput& in, float* memory) {
  if constexpr (kSource != RowSource::kNorm) return 0;
  float squares = 0;
#pragma unroll 2
  for (uint32_t at = threadIdx.x * 8; at < in.k; at += kRowThreads * 8) {
    float v[8];
    row_values<RowSource::kPlain>(in, at, 0, v);
#pragma unroll
    for (float e : v) squares = __fmaf_rn(e, e, squares);
  }
  const float mean = __fdiv_rn(block_reduce<false>(squares, memory), static_cast<float>(in.k));
  return __frcp_rn(__fsqrt_rn(__fadd_rn(mean, in.eps)));
}

__device__ __forceinline__ void touch_norm_weight(const float* weight, uint32_t k) {
  for (uint32_t at = threadIdx.x * 8; at < k; at += kRowThreads * 8) touch(weight + at);
}

// The power of two that brings a row's largest magnitude between 2^14 and 2^15; 1 for a row of
// zeros or one that is not finite.
__device__ __forceinline__ float row_scale(float largest) {
  const uint32_t exponent = __float_as_uint(largest) >> 23;
  if (largest == 0 || exponent >= 255) return 1;
  const int power = smaller(14 - (static_cast<int>(exponent) - 127), 126);
  return __uint_as_float(static_cast<uint32_t>(power + 127) << 23);
}

// The whole block works on one row. f32 values go to `values` if not null, halves to `halves` if
// not null; returns what the sums are to be multiplied with. `memory`: 16 floats, shared.
template <WeightFormat kFormat, RowSource kSource, bool kWarpgroup = false>
__device__ __forceinline__ float prepare_row(const RowInput& in, float* values, half* halves,
                                             float* memory) {
  const float inverse = inverse_rms<kSource>(in, memory);
  float largest = 0;
#pragma unroll 2
  for (uint32_t at = threadIdx.x * 8; at < in.k; at += kRowThreads * 8) {
    float v[8];
    row_values<kSource>(in, at, inverse, v);
#pragma unroll
    for (uint32_t i = 0; i < 8; ++i) {
      largest = fmaxf(largest, v[i] == v[i] ? fabsf(v[i]) : __int_as_float(0x7f800000));
    }
    if (values) {
      *reinterpret_cast<float4*>(values + at) = make_float4(v[0], v[1], v[2], v[3]);
      *reinterpret_cast<float4*>(values + at + 4) = make_float4(v[4], v[5], v[6], v[7]);
    }
  }
  if (!halves) return 1;
  const float scale = row_scale(block_reduce<true>(largest, memory + 8));
  const uint32_t padded = padded_k(in.k);
#pragma unroll 2
  for (uint32_t at = threadIdx.x * 8; at < padded; at += kRowThreads * 8) {
    float v[8] = {};
    if (at < in.k && values) {  // x may be where they were written
      row_values<RowSource::kPlain>({values, nullptr, in.k, 0}, at, 0, v);
    } else if (at < in.k) {
      row_values<kSource>(in, at, inverse, v);
    }
    half ordered[8];
#pragma unroll
    for (uint32_t i = 0; i < 8; ++i) {
      ordered[chunk_position<kFormat>(i) % 8] = __float2half_rn(__fmul_rn(v[i], scale));
    }
    const uint32_t cell = at / kChunk * kChunk + chunk_position<kFormat>(at % kChunk) / 8 * 8;
    if constexpr (kWarpgroup) {
#pragma unroll
      for (uint32_t pair = 0; pair < 4; ++pair) {
        *reinterpret_cast<half2*>(halves + warpgroup_position(cell + pair * 2)) =
            __halves2half2(ordered[pair * 2], ordered[pair * 2 + 1]);
      }
    } else {
      *reinterpret_cast<uint4*>(halves + cell) = *reinterpret_cast<const uint4*>(ordered);
    }
  }
  return __frcp_rn(scale);
}

}  // namespace krserve::kernels::cuda
