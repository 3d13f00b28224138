// Weights from memory to tensor-core operands, in registers.
//
// A chunk is kChunk consecutive weights of a row. The four lanes of a quad share a row; each reads
// whole 16-byte pieces of it. A unit is 8 weights of a lane: two k16 steps of the tensor cores. In
// which order weights enter the sums is fixed by this file, and x is stored in that order
// (chunk_position), so every kernel adds the same products in the same order.
#pragma once

#include "kernels/tuned/cuda/matmul_params.h"
#include "kernels/tuned/cuda/ptx.cuh"

namespace krserve::kernels::cuda {

using ops::FloatType;
using ops::WeightFormat;

inline constexpr uint32_t kChunk = 128;
inline constexpr uint32_t kUnits = 4;  // of a lane in a chunk
// K is cut into this many slices of whole chunks; their sums are added in order. The number does
// not depend on the rows, and so neither do the results.
inline constexpr uint32_t kSlices = 8;

__host__ __device__ constexpr uint32_t chunks_of(uint32_t k) {
  return (k + kChunk - 1) / kChunk;
}
__host__ __device__ constexpr uint32_t slice_begin(uint32_t slice, uint32_t chunks) {
  return slice * chunks / kSlices;
}

// Where element `k` of a row lies in the order of the sums, within its chunk.
template <WeightFormat kFormat>
__device__ __forceinline__ uint32_t chunk_position(uint32_t k) {
  if constexpr (kFormat == WeightFormat::kQ4) {
    const uint32_t i = k % 8;
    return k % 32 / 8 * 32 + k / 32 * 8 + (i % 4 * 2 + i / 4);
  } else if constexpr (kFormat == WeightFormat::kQ8) {
    return k / 64 * 64 + k % 16 / 8 * 32 + k % 64 / 16 * 8 + k % 8;
  } else {
    return k;
  }
}

__device__ __forceinline__ half load_half(const uint8_t* array, FloatType type, size_t index) {
  if (type == FloatType::kF16) return reinterpret_cast<const half*>(array)[index];
  if (type == FloatType::kBF16) {
    return __float2half_rn(__bfloat162float(reinterpret_cast<const __nv_bfloat16*>(array)[index]));
  }
  return __float2half_rn(reinterpret_cast<const float*>(array)[index]);
}

template <WeightFormat kFormat>
struct FormatTraits;
template <>
struct FormatTraits<WeightFormat::kQ4> {
  static constexpr uint32_t kPieces = 1;  // 16-byte pieces of a lane in a chunk
  static constexpr bool kQuantized = true;
};
template <>
struct FormatTraits<WeightFormat::kQ8> {
  static constexpr uint32_t kPieces = 2;
  static constexpr bool kQuantized = true;
};
template <>
struct FormatTraits<WeightFormat::kF16> {
  static constexpr uint32_t kPieces = 4;
  static constexpr bool kQuantized = false;
};
template <>
struct FormatTraits<WeightFormat::kBF16> {
  static constexpr uint32_t kPieces = 4;
  static constexpr bool kQuantized = false;
};

// One lane's part of a chunk of one row, as loaded.
template <WeightFormat kFormat>
struct RawChunk {
  using Traits = FormatTraits<kFormat>;
  static constexpr uint32_t kPieces = Traits::kPieces;
  static constexpr uint32_t kPerPiece = kChunk / 4 / kPieces;

  uint4 piece[kPieces];
  half2 scale_bias[Traits::kQuantized ? kPieces : 1];

  // `row` < matrix.n; columns past k count as zero. kOnce: nobody else reads these weights soon.
  template <bool kOnce>
  __device__ __forceinline__ void load(const Matrix& matrix, const MatrixShape& shape, uint32_t row,
                                       uint32_t chunk, uint32_t quad_lane) {
#pragma unroll
    for (uint32_t p = 0; p < kPieces; ++p) {
      const uint32_t k = chunk * kChunk + (p * 4 + quad_lane) * kPerPiece;
      const bool inside = k < shape.k;
      const size_t at = static_cast<size_t>(row) * shape.k + k;
      piece[p] = make_uint4(0, 0, 0, 0);
      const uint8_t* from = matrix.data + at * 16 / kPerPiece;
      if (inside) {
        piece[p] = kOnce ? load_streaming(from) : __ldg(reinterpret_cast<const uint4*>(from));
      }
      if constexpr (Traits::kQuantized) {
        scale_bias[p] = half2{};
        const size_t group = at >> shape.group_shift;
        if (inside) {
          scale_bias[p] = __halves2half2(load_half(matrix.scales, shape.scale_type, group),
                                         load_half(matrix.biases, shape.scale_type, group));
        }
      }
    }
  }

  // Unit u as four pairs of halves: 0 and 1 for the first step, 2 and 3 for the second.
  __device__ __forceinline__ void unpack(uint32_t u, half2 (&out)[4]) const {
    if constexpr (kFormat == WeightFormat::kQ4) {
      unpack_q4(word(piece[0], u), scale_bias[0], out);
    } else if constexpr (kFormat == WeightFormat::kQ8) {
      unpack_q8(word(piece[u / 2], u % 2 * 2), word(piece[u / 2], u % 2 * 2 + 1), scale_bias[u / 2],
                out);
    } else {
#pragma unroll
      for (uint32_t i = 0; i < 4; ++i) out[i] = to_half2(word(piece[u], i));
    }
  }

 private:
  static __device__ __forceinline__ uint32_t word(const uint4& v, uint32_t i) {
    return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
  }

  static __device__ __forceinline__ half2 to_half2(uint32_t bits) {
    if constexpr (kFormat == WeightFormat::kF16) return as_half2(bits);
    return __floats2half2_rn(__uint_as_float(bits << 16), __uint_as_float(bits & 0xffff0000U));
  }

  // 0x6400 is 1024 in f16: or-ing an integer below 1024 into it adds the integer. In the second
  // pair it is 16 times the value.
  static __device__ __forceinline__ void unpack_q4(uint32_t q, half2 scale_bias, half2 (&out)[4]) {
    const half2 scale = __low2half2(scale_bias), bias = __high2half2(scale_bias);
    const half2 minus_1024 = __float2half2_rn(-1024.0F), minus_64 = __float2half2_rn(-64.0F);
    const half2 sixteenth = __float2half2_rn(0.0625F);
#pragma unroll
    for (uint32_t i = 0; i < 4; i += 2) {
      const half2 low = as_half2((q & 0x000f000fU) | 0x64006400U);
      const half2 high = as_half2((q & 0x00f000f0U) | 0x64006400U);
      out[i] = __hfma2(__hadd2(low, minus_1024), scale, bias);
      out[i + 1] = __hfma2(__hfma2(high, sixteenth, minus_64), scale, bias);
      q >>= 8;
    }
  }

  static __device__ __forceinline__ void unpack_q8(uint32_t q0, uint32_t q1, half2 scale_bias,
                                                   half2 (&out)[4]) {
    const half2 scale = __low2half2(scale_bias), bias = __high2half2(scale_bias);
    const half2 minus_1024 = __float2half2_rn(-1024.0F);
    const uint32_t words[4] = {
        __byte_perm(q0, 0x64646464U, 0x4140), __byte_perm(q0, 0x64646464U, 0x4342),
        __byte_perm(q1, 0x64646464U, 0x4140), __byte_perm(q1, 0x64646464U, 0x4342)};
#pragma unroll
    for (uint32_t i = 0; i < 4; ++i) {
      out[i] = __hfma2(__hadd2(as_half2(words[i]), minus_1024), scale, bias);
    }
  }
};

// Operands of the two steps of a unit for 16 rows: `low` are this lane's values of row g, `high`
// of row g + 8.
__device__ __forceinline__ void make_steps(const half2 (&low)[4], const half2 (&high)[4],
                                           uint32_t (&first)[4], uint32_t (&second)[4]) {
  first[0] = as_bits(low[0]);
  first[1] = as_bits(high[0]);
  first[2] = as_bits(low[1]);
  first[3] = as_bits(high[1]);
  second[0] = as_bits(low[2]);
  second[1] = as_bits(high[2]);
  second[2] = as_bits(low[3]);
  second[3] = as_bits(high[3]);
}

}  // namespace krserve::kernels::cuda
