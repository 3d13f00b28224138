// Attention of 16 query rows over one split of the context, by one warp on the tensor cores.
#pragma once

#include "kernels/ops/step_params.h"
#include "kernels/tuned/cuda/attention_params.h"
#include "kernels/tuned/cuda/ptx.cuh"

namespace krserve::kernels::cuda {

template <class T>
__device__ __forceinline__ uint32_t pack2(float low, float high);
template <>
__device__ __forceinline__ uint32_t pack2<half>(float low, float high) {
  return as_bits(__floats2half2_rn(low, high));
}
template <>
__device__ __forceinline__ uint32_t pack2<__nv_bfloat16>(float low, float high) {
  __nv_bfloat162 v = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<uint32_t*>(&v);
}

template <class T>
__device__ __forceinline__ void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                    uint32_t b1) {
  if constexpr (sizeof(T) == 2 && __is_same(T, half)) {
    mma_f16(d, a, b0, b1);
  } else {
    mma_bf16(d, a, b0, b1);
  }
}

// Shared memory. Keys and values: [position][head_dim], 16-byte pieces exchanged so that a column
// of pieces lies in different banks. Queries: high and low halves, rows 16 bytes apart more.
template <uint32_t kDim>
struct SplitMemory {
  static constexpr uint32_t kRowBytes = kDim * 2;
  static constexpr uint32_t kTileBytes = kSplit * kRowBytes;
  static constexpr uint32_t kQueryRowBytes = kRowBytes + 16;
  static constexpr uint32_t kQueryBytes = 16 * kQueryRowBytes;

  static __device__ __forceinline__ uint32_t at(uint32_t tile, uint32_t position, uint32_t piece) {
    return tile + position * kRowBytes + (piece ^ (position & 7)) * 16;
  }
};

// A split's result for rows g and g + 8 of the warp (g = lane / 4).
template <uint32_t kDim>
struct Partial {
  float out[kDim / 8][4];
  float peak[2];  // in powers of two
  float sum[2];
};

// Stores q * factor as two halves each, together good to 22 bits (f16) or 16 (bf16).
template <class T>
__device__ __forceinline__ void store_query(char* high, char* low, float a, float b) {
  const uint32_t bits = pack2<T>(a, b);
  *reinterpret_cast<uint32_t*>(high) = bits;
  float rest_a, rest_b;
  if constexpr (__is_same(T, half)) {
    const float2 back = __half22float2(as_half2(bits));
    rest_a = a - back.x, rest_b = b - back.y;
  } else {
    rest_a = a - __uint_as_float(bits << 16), rest_b = b - __uint_as_float(bits & 0xffff0000U);
  }
  *reinterpret_cast<uint32_t*>(low) = pack2<T>(rest_a, rest_b);
}

template <class T, uint32_t kDim>
__device__ __forceinline__ void score(uint32_t keys, uint32_t query, float (&s)[kSplit / 8][4]) {
  using M = SplitMemory<kDim>;
  const uint32_t lane = threadIdx.x % 32, matrix = lane / 8, row = lane % 8;
#pragma unroll
  for (uint32_t step = 0; step < kDim / 16; ++step) {
    uint32_t high[4], low[4];
    const uint32_t from = query + lane % 16 * M::kQueryRowBytes + step * 32 + lane / 16 * 16;
    ldmatrix_x4(high, from);
    ldmatrix_x4(low, from + M::kQueryBytes);
#pragma unroll
    for (uint32_t pair = 0; pair < kSplit / 16; ++pair) {
      uint32_t k[4];
      ldmatrix_x4(k, M::at(keys, pair * 16 + matrix / 2 * 8 + row, step * 2 + matrix % 2));
      mma<T>(s[pair * 2], high, k[0], k[1]);
      mma<T>(s[pair * 2 + 1], high, k[2], k[3]);
      mma<T>(s[pair * 2], low, k[0], k[1]);
      mma<T>(s[pair * 2 + 1], low, k[2], k[3]);
    }
  }
}

// 2^x, good to two units in the last place; 0 for -inf.
__device__ __forceinline__ float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

__device__ __forceinline__ float quad_max(float v) {
  v = fmaxf(v, __shfl_xor_sync(0xffffffffU, v, 1));
  return fmaxf(v, __shfl_xor_sync(0xffffffffU, v, 2));
}
__device__ __forceinline__ float quad_sum(float v) {
  v = __fadd_rn(v, __shfl_xor_sync(0xffffffffU, v, 1));
  return __fadd_rn(v, __shfl_xor_sync(0xffffffffU, v, 2));
}

// Positions begin..begin+63 are in shared memory; row i sees those up to last[i] (-1: none).
template <class T, uint32_t kDim>
__device__ __forceinline__ void attend_split(uint32_t keys, uint32_t values, uint32_t query,
                                             int begin, const int (&last)[2],
                                             Partial<kDim>& result) {
  using M = SplitMemory<kDim>;
  const uint32_t lane = threadIdx.x % 32, matrix = lane / 8, row = lane % 8;
  float s[kSplit / 8][4] = {};
  score<T, kDim>(keys, query, s);
#pragma unroll
  for (uint32_t i = 0; i < 2; ++i) {
    float peak = -INFINITY;
#pragma unroll
    for (uint32_t n = 0; n < kSplit / 8; ++n) {
#pragma unroll
      for (uint32_t e = 0; e < 2; ++e) {
        float& v = s[n][i * 2 + e];
        if (begin + static_cast<int>(n * 8 + lane % 4 * 2 + e) > last[i]) v = -INFINITY;
        peak = fmaxf(peak, v);
      }
    }
    peak = quad_max(peak);
    const float base = peak == -INFINITY ? 0 : peak;
    float sum = 0;
#pragma unroll
    for (uint32_t n = 0; n < kSplit / 8; ++n) {
#pragma unroll
      for (uint32_t e = 0; e < 2; ++e) {
        float& v = s[n][i * 2 + e];
        v = exp2_fast(__fsub_rn(v, base));
        sum = __fadd_rn(sum, v);
      }
    }
    result.peak[i] = peak;
    result.sum[i] = quad_sum(sum);
  }
#pragma unroll
  for (uint32_t d = 0; d < kDim / 8; ++d) {
#pragma unroll
    for (uint32_t e = 0; e < 4; ++e) result.out[d][e] = 0;
  }
#pragma unroll
  for (uint32_t step = 0; step < kSplit / 16; ++step) {
    const float(&a)[4] = s[step * 2];
    const float(&b)[4] = s[step * 2 + 1];
    const uint32_t p[4] = {pack2<T>(a[0], a[1]), pack2<T>(a[2], a[3]), pack2<T>(b[0], b[1]),
                           pack2<T>(b[2], b[3])};
#pragma unroll
    for (uint32_t pair = 0; pair < kDim / 16; ++pair) {
      uint32_t v[4];
      ldmatrix_x4_trans(v, M::at(values, step * 16 + matrix % 2 * 8 + row, pair * 2 + matrix / 2));
      mma<T>(result.out[pair * 2], p, v[0], v[1]);
      mma<T>(result.out[pair * 2 + 1], p, v[2], v[3]);
    }
  }
}

// How a running result and the next split's are weighted when they are merged.
struct MergeFactors {
  float peak, running, next;
};

__device__ __forceinline__ MergeFactors merge_factors(float running_peak, float next_peak) {
  const float peak = fmaxf(running_peak, next_peak);
  if (peak == -INFINITY) return {peak, 1, 1};
  return {peak, exp2_fast(__fsub_rn(running_peak, peak)), exp2_fast(__fsub_rn(next_peak, peak))};
}

__device__ __forceinline__ float merge(const MergeFactors& f, float running, float next) {
  return __fmaf_rn(running, f.running, __fmul_rn(next, f.next));
}

__device__ __forceinline__ const ops::StepRow* step_rows(const AttentionParams& p) {
  return reinterpret_cast<const ops::StepRow*>(p.step + p.args.layout.rows_offset);
}

// Keys of a position; its values are one plane further.
__device__ __forceinline__ const uint8_t* key_address(const AttentionParams& p,
                                                      uint32_t pages_begin, uint32_t position,
                                                      uint32_t kv_head, uint32_t row_bytes) {
  const ops::KvLayout& kv = p.args.kv;
  const auto* pages = reinterpret_cast<const uint32_t*>(p.step + p.args.layout.pages_offset);
  const uint32_t page = pages[pages_begin + position / kv.page_tokens];
  const uint32_t in_segment = page & ((1U << kv.segment_shift) - 1);
  const size_t head_bytes = static_cast<size_t>(kv.page_tokens) * row_bytes;
  return p.segments[page >> kv.segment_shift] + in_segment * kv.page_bytes +
         (static_cast<size_t>(kv.layer) * 2 * kv.kv_heads + kv_head) * head_bytes +
         position % kv.page_tokens * row_bytes;
}

// Where a split's partial result lies: the first of each row by itself, the others by the place of
// their positions in the page list, which no two sequences share. A row that is the only one has
// all the place, so that it always fits.
__device__ __forceinline__ uint32_t partial_index(const AttentionParams& p, uint32_t row,
                                                  uint32_t pages_begin, uint32_t split) {
  if (split == 0) return row;
  const uint32_t before = p.row_capacity == 1 ? 0 : pages_begin * p.args.kv.page_tokens / kSplit;
  return p.row_capacity + before + split;
}

// A row that no other row of the step shares its sequence with, and whose splits fit the memory for
// partial results.
__device__ __forceinline__ bool is_alone(const AttentionParams& p, uint32_t row, uint32_t rows) {
  const ops::StepRow* all = step_rows(p);
  const uint32_t pages = all[row].pages_begin;
  if (row > 0 && all[row - 1].pages_begin == pages) return false;
  if (row + 1 < rows && all[row + 1].pages_begin == pages) return false;
  return partial_index(p, row, pages, all[row].position / kSplit) < p.split_capacity;
}

}  // namespace krserve::kernels::cuda
