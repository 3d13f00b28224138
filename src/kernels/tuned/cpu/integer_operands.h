// What both paths of the integer matmul work on: the problem, activations as integers, and the
// scales and biases of a tile of weight rows.
#pragma once

#include "kernels/ops/matmul.h"
#include "kernels/tuned/cpu/convert.h"
#include "kernels/tuned/cpu/step.h"

#if defined(__AVX512VNNI__)

namespace krserve::kernels::KR_CPU_ISA {

using ops::MatmulArgs;
using ops::WeightArgs;
using ops::WeightFormat;
using VecW = __m512i;

inline constexpr uint32_t kBlock = 64;         // activations with one scale
inline constexpr uint32_t kPairX = 256;        // bytes of two blocks: even high, odd high, and low
inline constexpr uint32_t kTile = 16;          // weight rows of a tile: one lane each
inline constexpr float kMaxQuantized = 32639;  // 127 * 256 + 127

KR_INLINE bool runs_on_integers(const WeightArgs& weight) {
  return weight.format == WeightFormat::kQ4 &&
         (weight.group_size == kBlock || weight.group_size == 2 * kBlock);
}

// Weight rows of one task.
KR_INLINE uint32_t integer_task_rows(uint32_t n) {
  if (n >= 16384) return 64;
  return n >= 512 ? 32 : 16;
}

// One dispatch as the paths below see it.
struct IntegerProblem {
  WeightArgs weight;
  uint32_t rows;
  uint32_t flags;
  uint32_t blocks;       // of k
  uint32_t pairs;        // of blocks, the last may lack its second
  uint32_t group_shift;  // block b is in group b >> group_shift
  uint32_t groups;       // of a weight row
  size_t w_bytes;        // of a weight row
  const std::byte* w;
  const std::byte* scales;
  const std::byte* biases;
  const float* bias;
  float* y;
  std::byte* x;    // [rows][pairs][kPairX]
  float* x_scale;  // [rows][2 * pairs], 0 for the block that is not there
  float* x_sum;    // [rows][2 * pairs]: the sum of the block's x
  float* values;   // of a task: [tile]{scales, biases} [groups + 1][kTile]
  std::byte* panel;
  float* partial;  // [token row][tile][2][kTile]

  size_t table_floats() const { return size_t{groups + 1} * kTile; }
  float* tile_scales(uint32_t tile) const { return values + tile * 2 * table_floats(); }
  float* tile_biases(uint32_t tile) const { return tile_scales(tile) + table_floats(); }
  KR_INLINE uint32_t weight_row(uint32_t row) const { return smaller(row, weight.n - 1); }

  KR_INLINE void write(uint32_t row, uint32_t n, VecF sums) const {
    const uint32_t count = smaller(kTile, weight.n - n);
    const auto mask = static_cast<__mmask16>((1u << count) - 1);
    float* out = y + size_t{row} * weight.n + n;
    if ((flags & ops::kMatmulBias) != 0) sums += VecF(_mm512_maskz_loadu_ps(mask, bias + n));
    if ((flags & ops::kMatmulAccumulate) != 0) sums += VecF(_mm512_maskz_loadu_ps(mask, out));
    _mm512_mask_storeu_ps(out, mask, sums);
  }
};

// A block's largest magnitude; NaN or infinite if an element is.
KR_INLINE float largest_magnitude(const VecF (&x)[4]) {
  const VecW magnitude = _mm512_set1_epi32(0x7fffffff);
  VecW most = _mm512_setzero_si512();
  for (const VecF& v : x) {
    most = _mm512_max_epu32(most, _mm512_and_si512(bit_as<VecW>(v), magnitude));
  }
  return bit_as<float>(_mm512_reduce_max_epu32(most));
}

KR_INLINE VecW join_bytes(const VecW (&v)[4]) {
  VecW bytes = _mm512_castsi128_si512(_mm512_cvtepi32_epi8(v[0]));
  bytes = _mm512_inserti32x4(bytes, _mm512_cvtepi32_epi8(v[1]), 1);
  bytes = _mm512_inserti32x4(bytes, _mm512_cvtepi32_epi8(v[2]), 2);
  return _mm512_inserti32x4(bytes, _mm512_cvtepi32_epi8(v[3]), 3);
}

// Even elements to `to`, odd ones to `to + 64`: weights have them in low and high nibbles.
KR_INLINE void store_even_odd(std::byte* to, VecW bytes) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), _mm512_cvtepi16_epi8(bytes));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 64),
                      _mm512_cvtepi16_epi8(_mm512_srli_epi16(bytes, 8)));
}

KR_INLINE void quantize_block(const float* x, std::byte* to, float* x_scale, float* x_sum) {
  const VecF v[4] = {load(x), load(x + 16), load(x + 32), load(x + 48)};
  const float most = largest_magnitude(v);
  const bool usable = most > 1e-30f && most <= 3.4028235e38f;     // neither infinite nor NaN
  const float scale = most <= 1e-30f ? 0 : most / kMaxQuantized;  // NaN stays NaN
  const VecF inverse = splat(usable ? kMaxQuantized / most : 0);
  VecW high[4], low[4], sum = _mm512_setzero_si512();
  for (uint32_t i = 0; i < 4; ++i) {
    const VecW q = _mm512_cvtps_epi32(v[i] * inverse);
    high[i] = _mm512_srai_epi32(_mm512_add_epi32(q, _mm512_set1_epi32(128)), 8);
    low[i] = _mm512_sub_epi32(q, _mm512_slli_epi32(high[i], 8));
    sum = _mm512_add_epi32(sum, q);
  }
  store_even_odd(to, join_bytes(high));
  store_even_odd(to + 128, join_bytes(low));
  *x_scale = scale;
  *x_sum = static_cast<float>(_mm512_reduce_add_epi32(sum)) * scale;
}

inline void quantize_rows(const IntegerProblem& p, const float* x) {
  for (uint32_t r = 0; r < p.rows; ++r, x += p.weight.k) {
    std::byte* to = p.x + size_t{r} * p.pairs * kPairX;
    float* scale = p.x_scale + size_t{r} * p.pairs * 2;
    float* sum = p.x_sum + size_t{r} * p.pairs * 2;
    for (uint32_t b = 0; b < p.blocks; ++b) {
      quantize_block(x + b * kBlock, to + b / 2 * kPairX + b % 2 * 32, scale + b, sum + b);
    }
    if (p.blocks % 2 != 0) scale[p.blocks] = sum[p.blocks] = 0;
  }
}

// In each half of the registers: element j of vector i becomes element i of vector j.
KR_INLINE void transpose_halves(VecW (&v)[8]) {
  VecW pairs[8], quads[8];
  for (uint32_t i = 0; i < 8; i += 2) {
    pairs[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
  }
  for (uint32_t i = 0; i < 8; i += 4) {
    for (uint32_t j = 0; j < 2; ++j) {
      quads[i + 2 * j] = _mm512_unpacklo_epi64(pairs[i + j], pairs[i + 2 + j]);
      quads[i + 2 * j + 1] = _mm512_unpackhi_epi64(pairs[i + j], pairs[i + 2 + j]);
    }
  }
  const VecW first = _mm512_setr_epi64(0, 1, 8, 9, 4, 5, 12, 13);
  const VecW second = _mm512_setr_epi64(2, 3, 10, 11, 6, 7, 14, 15);
  for (uint32_t i = 0; i < 4; ++i) {
    v[i] = _mm512_permutex2var_epi64(quads[i], first, quads[i + 4]);
    v[i + 4] = _mm512_permutex2var_epi64(quads[i], second, quads[i + 4]);
  }
}

// The low and the high halves of 16 words, as f16 or bf16.
template <FloatType kType>
KR_INLINE VecF low_as_f32(VecW words) {
  if constexpr (kType == FloatType::kBF16) return bit_as<VecF>(_mm512_slli_epi32(words, 16));
  return from_f16(bit_as<VecH>(_mm512_cvtepi32_epi16(words)));
}
template <FloatType kType>
KR_INLINE VecF high_as_f32(VecW words) {
  if constexpr (kType == FloatType::kBF16) {
    return bit_as<VecF>(_mm512_and_si512(words, _mm512_set1_epi32(-65536)));
  }
  return from_f16(bit_as<VecH>(_mm512_cvtepi32_epi16(_mm512_srli_epi32(words, 16))));
}

// Scales (or biases) of weight rows [n, n + kTile) as [group][row], and zeros for a group more.
template <FloatType kType>
inline void transpose_values(float* to, const std::byte* from, const IntegerProblem& p,
                             uint32_t n) {
  for (uint32_t g = 0; g < p.groups; g += 16) {
    const uint32_t count = smaller(16u, p.groups - g);
    const auto mask = static_cast<__mmask16>((1u << count) - 1);
    const auto row_at = [&](uint32_t i) {
      return from + (size_t{p.weight_row(n + i)} * p.groups + g) * kBytesOf<kType>;
    };
    if constexpr (kType == FloatType::kF32) {
      VecF rows[kTile];
      for (uint32_t i = 0; i < kTile; ++i) rows[i] = _mm512_maskz_loadu_ps(mask, row_at(i));
      transpose(rows);
      for (uint32_t i = 0; i < count; ++i) store(to + (g + i) * kTile, rows[i]);
    } else {
      // Two groups of a row are a word.
      VecW words[8];
      for (uint32_t i = 0; i < 8; ++i) {
        const VecW low = _mm512_castsi256_si512(_mm256_maskz_loadu_epi16(mask, row_at(i)));
        words[i] = _mm512_inserti64x4(low, _mm256_maskz_loadu_epi16(mask, row_at(i + 8)), 1);
      }
      transpose_halves(words);
      for (uint32_t i = 0; 2 * i < count; ++i) {
        store(to + (g + 2 * i) * kTile, low_as_f32<kType>(words[i]));
        store(to + (g + 2 * i + 1) * kTile, high_as_f32<kType>(words[i]));
      }
    }
  }
  store(to + p.groups * kTile, VecF{});
}

inline void load_tile_values(const IntegerProblem& p, uint32_t tile, uint32_t n) {
  const auto both = [&]<FloatType kType>() {
    transpose_values<kType>(p.tile_scales(tile), p.scales, p, n);
    transpose_values<kType>(p.tile_biases(tile), p.biases, p, n);
  };
  switch (p.weight.scale_type) {
    case FloatType::kF32:
      return both.template operator()<FloatType::kF32>();
    case FloatType::kF16:
      return both.template operator()<FloatType::kF16>();
    case FloatType::kBF16:
      return both.template operator()<FloatType::kBF16>();
  }
}

}  // namespace krserve::kernels::KR_CPU_ISA

#endif
