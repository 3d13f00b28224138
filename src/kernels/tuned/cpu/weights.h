// Reads rows of a weight matrix as f32 vectors, whatever their format.
//
// Every format has a Group (what unpacking needs for the current group of a row) and
// unpack(row, i, group): weights [i * kLanes, (i + 1) * kLanes) of the row. A quantized weight is
// fma(q, scale, bias), rounded once, on every path.
#pragma once

#include "kernels/ops/types.h"
#include "kernels/tuned/cpu/convert.h"

namespace krserve::kernels::KR_CPU_ISA {

using ops::WeightArgs;
using ops::WeightFormat;

inline constexpr size_t kUnpackPrefetchBytes = 4096;

template <FloatType kType>
struct FloatFormat {
  static constexpr bool kQuantized = false;
  static constexpr bool kPermuted = false;
  struct Group {};
  static KR_INLINE Group group(float, float) { return {}; }
  static KR_INLINE VecF unpack(const std::byte* row, size_t i, const Group&) {
    return load_as_f32<kType>(row + i * kLanes * kBytesOf<kType>);
  }
  static KR_INLINE VecF unpack_part(const std::byte* row, size_t i, size_t count) {
    return load_part_as_f32<kType>(row + i * kLanes * kBytesOf<kType>, count);
  }
};

struct Q8Format {
  static constexpr size_t kPerByte = 1;
  static constexpr bool kQuantized = true;
  static constexpr bool kPermuted = false;
  struct Group {
    VecF scale, bias;
  };
  static KR_INLINE Group group(float scale, float bias) { return {splat(scale), splat(bias)}; }
  static KR_INLINE VecF unpack(const std::byte* row, size_t i, const Group& group) {
    using VecB = uint8_t __attribute__((vector_size(kLanes)));
    VecB bytes;
    __builtin_memcpy(&bytes, row + i * kLanes, sizeof(bytes));
#if defined(__AVX512F__)
    const VecF q = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bit_as<__m128i>(bytes)));
#elif defined(__AVX2__)
    const uint64_t low = bit_as<uint64_t>(bytes);
    const VecF q =
        _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(static_cast<int64_t>(low))));
#else
    const VecF q = __builtin_convertvector(bytes, VecF);
#endif
    return fma(q, group.scale, group.bias);
  }
};

#if defined(__AVX512F__)

// A look-up in the group's 16 values. Two words are broadcast as a pair, so lane 2 i + h holds
// nibble i of word h: element 8 h + i of the 16. natural_order() undoes it.
struct Q4Format {
  static constexpr size_t kPerByte = 2;
  static constexpr bool kQuantized = true;
  static constexpr bool kPermuted = true;
  struct Group {
    VecF table;
  };
  static KR_INLINE Group group(float scale, float bias) {
    const VecF q = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return {fma(q, splat(scale), splat(bias))};
  }
  static KR_INLINE VecF unpack(const std::byte* row, size_t i, const Group& group) {
    uint64_t words;
    __builtin_memcpy(&words, row + i * 8, sizeof(words));
    const __m512i shifts =
        _mm512_setr_epi32(0, 0, 4, 4, 8, 8, 12, 12, 16, 16, 20, 20, 24, 24, 28, 28);
    const __m512i pair = _mm512_set1_epi64(static_cast<int64_t>(words));
    // The look-up uses the low four bits of an index.
    return _mm512_permutexvar_ps(_mm512_srlv_epi32(pair, shifts), group.table);
  }
};

KR_INLINE VecF natural_order(VecF v) {
  return __builtin_shufflevector(v, v, 0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
}
KR_INLINE VecF permuted_order(VecF v) {
  return __builtin_shufflevector(v, v, 0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
}

#else

struct Q4Format {
  static constexpr size_t kPerByte = 2;
  static constexpr bool kQuantized = true;
  static constexpr bool kPermuted = false;
#if defined(__AVX2__)
  struct Group {
    VecF scale, bias;
  };
  static KR_INLINE Group group(float scale, float bias) { return {splat(scale), splat(bias)}; }
  static KR_INLINE VecF unpack(const std::byte* row, size_t i, const Group& group) {
    int32_t word;
    __builtin_memcpy(&word, row + i * 4, sizeof(word));
    const __m256i shifts = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
    const __m256i q =
        _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(word), shifts), _mm256_set1_epi32(15));
    return fma(_mm256_cvtepi32_ps(q), group.scale, group.bias);
  }
#else
  // Nibbles are left where they are in the word: nibble i is q * 16^i, and the scale makes up for
  // it.
  struct Group {
    VecF scale, bias;
  };
  static KR_INLINE Group group(float scale, float bias) {
    const VecF unit = {1.0f, 1.0f / 16, 1.0f / 256, 1.0f / 4096};
    return {unit * scale, splat(bias)};
  }
  static KR_INLINE VecF unpack(const std::byte* row, size_t i, const Group& group) {
    uint16_t half;
    __builtin_memcpy(&half, row + i * 2, sizeof(half));
    const VecI mask = {0xf, 0xf0, 0xf00, 0xf000};
    return fma(__builtin_convertvector(splat_i(half) & mask, VecF), group.scale, group.bias);
  }
#endif
};

KR_INLINE VecF natural_order(VecF v) {
  return v;
}
KR_INLINE VecF permuted_order(VecF v) {
  return v;
}

#endif

KR_INLINE bool is_quantized(WeightFormat format) {
  return format == WeightFormat::kQ4 || format == WeightFormat::kQ8;
}

KR_INLINE size_t row_bytes(const WeightArgs& weight) {
  switch (weight.format) {
    case WeightFormat::kF32:
      return size_t{weight.k} * 4;
    case WeightFormat::kF16:
    case WeightFormat::kBF16:
      return size_t{weight.k} * 2;
    case WeightFormat::kQ4:
      return weight.k / 2;
    case WeightFormat::kQ8:
      break;
  }
  return weight.k;
}

KR_INLINE size_t groups_per_row(const WeightArgs& weight) {
  return is_quantized(weight.format) ? weight.k / weight.group_size : 0;
}

// Converts the scales (or biases) of rows [first, first + rows).
inline void load_group_values(float* to, const void* values, const WeightArgs& weight, size_t first,
                              size_t rows) {
  const size_t groups = groups_per_row(weight);
  const size_t bytes = weight.scale_type == FloatType::kF32 ? 4 : 2;
  to_f32(to, static_cast<const std::byte*>(values) + first * groups * bytes, weight.scale_type,
         rows * groups);
}

// Calls visit(Format{}) with the format's type.
template <class Visitor>
KR_INLINE void with_format(WeightFormat format, Visitor&& visit) {
  switch (format) {
    case WeightFormat::kF32:
      return visit(FloatFormat<FloatType::kF32>{});
    case WeightFormat::kF16:
      return visit(FloatFormat<FloatType::kF16>{});
    case WeightFormat::kBF16:
      return visit(FloatFormat<FloatType::kBF16>{});
    case WeightFormat::kQ4:
      return visit(Q4Format{});
    case WeightFormat::kQ8:
      return visit(Q8Format{});
  }
}

// Weights [begin, end) of a row in natural order, vector j of them at to + j * stride floats. `end`
// need not fill its last vector (zeros do); `begin` is a multiple of the group size, or of kLanes.
template <class Format>
inline void unpack_row(float* to, size_t stride, const std::byte* row, const float* scales,
                       const float* biases, size_t group_size, size_t begin, size_t end) {
  if constexpr (Format::kQuantized) {
    const size_t group_vecs = group_size / kLanes;
    for (size_t g = begin / group_size; g < end / group_size; ++g) {
      const auto group = Format::group(scales[g], biases[g]);
      prefetch(row + g * group_size / Format::kPerByte + kUnpackPrefetchBytes);
      for (size_t v = 0; v < group_vecs; ++v, to += stride) {
        const VecF w = Format::unpack(row, g * group_vecs + v, group);
        store(to, Format::kPermuted ? natural_order(w) : w);
      }
    }
  } else {
    size_t v = begin / kLanes;
    for (; (v + 1) * kLanes <= end; ++v, to += stride) store(to, Format::unpack(row, v, {}));
    if (v * kLanes < end) store(to, Format::unpack_part(row, v, end - v * kLanes));
  }
}

}  // namespace krserve::kernels::KR_CPU_ISA
