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

inline constexpr uint32_t kUnits = 4;  // of a lane in a chunk
// K is cut into this many slices of whole chunks; their sums are added in order. The number does
// not depend on the rows, and so neither do the results.
inline constexpr uint32_t kSlices = 8;

constexpr uint32_t slice_begin(uint32_t slice, uint32_t chunks) {
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

// Where warpgroup instructions want the pairs of a chunk: those of a step side by side, the lanes'
// within.
__device__ __forceinline__ uint32_t warpgroup_position(uint32_t position) {
  const uint32_t quad_lane = position % 32 / 8, pair = position % 8 / 2;
  return position / 32 * 32 + pair * 8 + quad_lane * 2 + position % 2;
}

// A scale or bias as it was loaded: 16 bits. It becomes a half when it is used, so that nobody
// waits for the load before.
__device__ __forceinline__ uint32_t load_raw(const uint8_t* array, uint32_t index) {
  return __ldg(reinterpret_cast<const uint16_t*>(array) + index);
}

__device__ __forceinline__ half2 raw_to_half2(uint32_t raw, FloatType type) {
  const float wide = __uint_as_float(raw << 16);
  const half2 converted = __floats2half2_rn(wide, wide);
  return type == FloatType::kBF16 ? converted : as_half2(__byte_perm(raw, raw, 0x1010));
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

// The first column of a lane's piece of a chunk. Past the end of a row its last piece: x is zero
// there.
template <WeightFormat kFormat>
__device__ __forceinline__ uint32_t column_of(const MatrixShape& shape, uint32_t chunk,
                                              uint32_t piece, uint32_t quad_lane) {
  constexpr uint32_t kPerPiece = kChunk / 4 / FormatTraits<kFormat>::kPieces;
  return smaller(chunk * kChunk + (piece * 4 + quad_lane) * kPerPiece, shape.k - kPerPiece);
}
template <WeightFormat kFormat>
__device__ __forceinline__ uint32_t group_of(const MatrixShape& shape, uint32_t chunk,
                                             uint32_t piece, uint32_t quad_lane) {
  return column_of<kFormat>(shape, chunk, piece, quad_lane) >> shape.group_shift;
}

// Where a lane finds its two rows, g and g + 8 of sixteen (g = lane / 4). Offsets have 32 bits: the
// plan leaves larger matrices to another kernel.
template <WeightFormat kFormat>
struct RowPair {
  using Traits = FormatTraits<kFormat>;

  const uint8_t* data;
  const uint8_t* scales;
  const uint8_t* biases;
  uint32_t offset[2];
  uint32_t group[2];

  // Rows past the last are read as the last; nobody uses them.
  __device__ __forceinline__ void set(const Matrix& matrix, const MatrixShape& shape,
                                      uint32_t first_row, uint32_t lane) {
    data = matrix.data;
    scales = matrix.scales;
    biases = matrix.biases;
    const uint32_t row_bytes = shape.k / 2 * Traits::kPieces;
#pragma unroll
    for (uint32_t h = 0; h < 2; ++h) {
      const uint32_t row = smaller(first_row + lane / 4 + h * 8, matrix.n - 1);
      offset[h] = row * row_bytes;
      if constexpr (Traits::kQuantized) group[h] = row * (shape.k >> shape.group_shift);
    }
  }
};

// Scales and biases of a lane's part of a chunk of two rows, as loaded.
template <WeightFormat kFormat>
struct GroupValues {
  static constexpr uint32_t kPieces =
      FormatTraits<kFormat>::kQuantized ? FormatTraits<kFormat>::kPieces : 1;

  uint32_t scale[2][kPieces];
  uint32_t bias[2][kPieces];

  // Past the end of a row its last group.
  __device__ __forceinline__ void load(const RowPair<kFormat>& rows, const MatrixShape& shape,
                                       uint32_t chunk, uint32_t quad_lane) {
    if constexpr (FormatTraits<kFormat>::kQuantized) {
#pragma unroll
      for (uint32_t p = 0; p < kPieces; ++p) {
        const uint32_t group = group_of<kFormat>(shape, chunk, p, quad_lane);
#pragma unroll
        for (uint32_t h = 0; h < 2; ++h) {
          scale[h][p] = load_raw(rows.scales, rows.group[h] + group);
          bias[h][p] = load_raw(rows.biases, rows.group[h] + group);
        }
      }
    }
  }
};

// One lane's part of a chunk of two rows, as loaded.
template <WeightFormat kFormat>
struct RawChunk {
  using Traits = FormatTraits<kFormat>;
  static constexpr uint32_t kPieces = Traits::kPieces;
  static constexpr uint32_t kPerPiece = kChunk / 4 / kPieces;

  uint4 piece[2][kPieces];

  // kOnce: nobody else reads these weights soon.
  template <bool kOnce>
  __device__ __forceinline__ void load(const RowPair<kFormat>& rows, const MatrixShape& shape,
                                       uint32_t chunk, uint32_t quad_lane) {
#pragma unroll
    for (uint32_t p = 0; p < kPieces; ++p) {
      const uint32_t k = column_of<kFormat>(shape, chunk, p, quad_lane);
#pragma unroll
      for (uint32_t h = 0; h < 2; ++h) {
        const uint8_t* from = rows.data + (rows.offset[h] + k * 16 / kPerPiece);
        piece[h][p] = kOnce ? load_streaming(from) : __ldg(reinterpret_cast<const uint4*>(from));
      }
    }
  }

  // The tensor cores' operands of unit u, for its two steps.
  __device__ __forceinline__ void unpack(uint32_t u, const GroupValues<kFormat>& groups,
                                         FloatType scale_type, uint32_t (&first)[4],
                                         uint32_t (&second)[4]) const {
#pragma unroll
    for (uint32_t h = 0; h < 2; ++h) {
      half2 pairs[4];
      unpack_row(u, groups, scale_type, h, pairs);
      first[h] = as_bits(pairs[0]);
      first[h + 2] = as_bits(pairs[1]);
      second[h] = as_bits(pairs[2]);
      second[h + 2] = as_bits(pairs[3]);
    }
  }

 private:
  // Four pairs of halves: 0 and 1 for the first step, 2 and 3 for the second.
  __device__ __forceinline__ void unpack_row(uint32_t u, const GroupValues<kFormat>& groups,
                                             FloatType scale_type, uint32_t h,
                                             half2 (&out)[4]) const {
    if constexpr (Traits::kQuantized) {
      const uint32_t p = u / (kUnits / kPieces);
      const half2 s = raw_to_half2(groups.scale[h][p], scale_type);
      const half2 b = raw_to_half2(groups.bias[h][p], scale_type);
      if constexpr (kFormat == WeightFormat::kQ4) {
        unpack_q4(word(piece[h][0], u), s, b, out);
      } else {
        unpack_q8(word(piece[h][p], u % 2 * 2), word(piece[h][p], u % 2 * 2 + 1), s, b, out);
      }
    } else {
#pragma unroll
      for (uint32_t i = 0; i < 4; ++i) out[i] = to_half2(word(piece[h][u], i));
    }
  }

  static __device__ __forceinline__ uint32_t word(const uint4& v, uint32_t i) {
    return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
  }

  static __device__ __forceinline__ half2 to_half2(uint32_t bits) {
    if constexpr (kFormat == WeightFormat::kF16) return as_half2(bits);
    return __floats2half2_rn(__uint_as_float(bits << 16), __uint_as_float(bits & 0xffff0000U));
  }

  // (q & kMask) | 0x64006400 in one instruction: of two constants one must be in a register.
  template <uint32_t kMask>
  static __device__ __forceinline__ uint32_t and_or(uint32_t q) {
    uint32_t magic, out;
    asm("mov.b32 %0, 0x64006400;" : "=r"(magic));
    asm("lop3.b32 %0, %1, %2, %3, 0xea;" : "=r"(out) : "r"(q), "n"(kMask), "r"(magic));
    return out;
  }

  // 0x6400 is 1024 in f16: or-ing an integer below 1024 into it adds the integer. In the second
  // pair it is 16 times the value.
  static __device__ __forceinline__ void unpack_q4(uint32_t q, half2 scale, half2 bias,
                                                   half2 (&out)[4]) {
    const half2 minus_1024 = __float2half2_rn(-1024.0F), minus_64 = __float2half2_rn(-64.0F);
    const half2 sixteenth = __float2half2_rn(0.0625F);
#pragma unroll
    for (uint32_t i = 0; i < 4; i += 2) {
      const half2 low = as_half2(and_or<0x000f000fU>(q));
      const half2 high = as_half2(and_or<0x00f000f0U>(q));
      out[i] = __hfma2(__hadd2(low, minus_1024), scale, bias);
      out[i + 1] = __hfma2(__hfma2(high, sixteenth, minus_64), scale, bias);
      q >>= 8;
    }
  }

  static __device__ __forceinline__ void unpack_q8(uint32_t q0, uint32_t q1, half2 scale,
                                                   half2 bias, half2 (&out)[4]) {
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

}  // namespace krserve::kernels::cuda
