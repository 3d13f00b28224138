// Reads weights and activations, eight consecutive elements of a row at a time.
#pragma once

#include "kernels/single_source/common.h"

namespace krserve::kernels::single_source {

using ops::FloatType;
using ops::WeightFormat;

// Elements that a lane takes at once.
KR_CONST uint32_t kPiece = 8;

template <FloatType kType>
struct Storage;
template <>
struct Storage<FloatType::kF32> {
  using Type = float;
};
template <>
struct Storage<FloatType::kF16> {
  using Type = kr_half;
};
template <>
struct Storage<FloatType::kBF16> {
  using Type = kr_bfloat;
};

// Whether all pieces of rows of `k` elements can be read as vectors.
template <class T>
KR_FN bool whole_vectors(KR_DEVICE const T* rows, uint32_t k) {
  return k % kPiece == 0 && kr_address(rows) % 16 == 0;
}

template <class T>
KR_FN void two_of_word(KR_THREAD float* to, uint32_t word) {
  to[0] = kr_f32(static_cast<T>(static_cast<uint16_t>(word & 0xffffu)));
  to[1] = kr_f32(static_cast<T>(static_cast<uint16_t>(word >> 16)));
}

KR_FN void load_vectors(KR_THREAD float* to, KR_DEVICE const float* from) {
  const kr_float4 a = reinterpret_cast<KR_DEVICE const kr_float4*>(from)[0];
  const kr_float4 b = reinterpret_cast<KR_DEVICE const kr_float4*>(from)[1];
  to[0] = a.x;
  to[1] = a.y;
  to[2] = a.z;
  to[3] = a.w;
  to[4] = b.x;
  to[5] = b.y;
  to[6] = b.z;
  to[7] = b.w;
}
template <class T>
KR_FN void load_vectors(KR_THREAD float* to, KR_DEVICE const T* from) {
  const kr_uint4 words = *reinterpret_cast<KR_DEVICE const kr_uint4*>(from);
  two_of_word<T>(to, words.x);
  two_of_word<T>(to + 2, words.y);
  two_of_word<T>(to + 4, words.z);
  two_of_word<T>(to + 6, words.w);
}

// Elements [at, at + kPiece) of a row of k; 0 for those behind its end.
template <class T>
KR_FN void load_piece(KR_THREAD float* to, KR_DEVICE const T* row, uint32_t at, uint32_t k,
                      bool vectors) {
  if (vectors) {
    load_vectors(to, row + at);
  } else {
    KR_UNROLL
    for (uint32_t i = 0; i < kPiece; ++i) to[i] = at + i < k ? kr_f32(row[at + i]) : 0.0f;
  }
}

// Fields of kBits, lowest first.
template <uint32_t kBits>
KR_FN void unpack_word(KR_THREAD float* to, uint32_t word, float scale, float bias) {
  KR_UNROLL
  for (uint32_t i = 0; i < 32 / kBits; ++i) {
    const uint32_t q = (word >> (kBits * i)) & ((1u << kBits) - 1u);
    to[i] = kr_fma(kr_small_f32(q), scale, bias);
  }
}

// The weight matrix of a dispatch: weights at buffer `first`, then scales and biases.
template <class T>
struct FloatMatrix {
  KR_DEVICE const T* weights;
  uint32_t k;
  bool vectors;
};
template <uint32_t kBits, class S>
struct QuantizedMatrix {
  KR_DEVICE const uint32_t* words;
  KR_DEVICE const S* scales;
  KR_DEVICE const S* biases;
  uint32_t k;
  uint32_t group_shift;
};

template <class T>
KR_FN void open_matrix(KR_THREAD FloatMatrix<T>& matrix, KR_CONSTANT const DialectParams& params,
                       uint32_t first, uint32_t k, uint32_t) {
  matrix.weights = kr_buffer<const T>(params, first);
  matrix.k = k;
  matrix.vectors = whole_vectors(matrix.weights, k);
}
template <uint32_t kBits, class S>
KR_FN void open_matrix(KR_THREAD QuantizedMatrix<kBits, S>& matrix,
                       KR_CONSTANT const DialectParams& params, uint32_t first, uint32_t k,
                       uint32_t group_shift) {
  matrix.words = kr_buffer<const uint32_t>(params, first);
  matrix.scales = kr_buffer<const S>(params, first + 1);
  matrix.biases = kr_buffer<const S>(params, first + 2);
  matrix.k = k;
  matrix.group_shift = group_shift;
}

template <class T>
KR_FN void load_weights(KR_THREAD float* to, KR_THREAD const FloatMatrix<T>& matrix, uint32_t row,
                        uint32_t at) {
  load_piece(to, matrix.weights + static_cast<uint64_t>(row) * matrix.k, at, matrix.k,
             matrix.vectors);
}
// The row's length is a multiple of the group size, so a piece lies within one group.
template <uint32_t kBits, class S>
KR_FN void load_weights(KR_THREAD float* to, KR_THREAD const QuantizedMatrix<kBits, S>& matrix,
                        uint32_t row, uint32_t at) {
  const uint64_t first = static_cast<uint64_t>(row) * matrix.k + at;
  const uint64_t group = first >> matrix.group_shift;
  const float scale = kr_f32(matrix.scales[group]);
  const float bias = kr_f32(matrix.biases[group]);
  KR_UNROLL
  for (uint32_t i = 0; i < kPiece * kBits / 32; ++i) {
    unpack_word<kBits>(to + i * (32 / kBits), matrix.words[first * kBits / 32 + i], scale, bias);
  }
}

}  // namespace krserve::kernels::single_source
