// matmul for rows of prompts: a threadgroup computes a tile of y with matrices of its simdgroups.
//
// x and W pass through threadgroup memory as f32. An element of y is the sum of its products in
// order of k, eight to a multiply_add, wherever its tile begins and whatever else is in it: a row's
// bits depend on the row alone. They are not those of single_source/matmul.h.
#pragma once

#include "kernels/single_source/matmul.h"
#include "kernels/tuned/metal/kernel_ids.h"

namespace krserve::kernels::tuned_metal {

using namespace single_source;  // NOLINT(google-build-using-namespace)

KR_CONST uint32_t kMatrixDim = 8;
KR_CONST uint32_t kRowMatrices = kPromptRows / kMatrixDim;
// A simdgroup has all rows of the tile and its share of the outputs.
KR_CONST uint32_t kSimdOutputs = kPromptOutputs / kPromptSimds;
KR_CONST uint32_t kOutputMatrices = kSimdOutputs / kMatrixDim;
KR_CONST uint32_t kPromptThreads = kPromptSimds * kLanes;

// Rows of tiles are 16 bytes apart in the banks of threadgroup memory.
KR_CONST uint32_t kDepthStride = kPromptDepth + 4;
KR_CONST uint32_t kOutputStride = kPromptOutputs + 4;
KR_CONST uint32_t kXTileFloats = kPromptRows * kDepthStride;
// y's tile takes the place of W's.
KR_CONST uint32_t kWTileFloats = kPromptOutputs * kDepthStride;
struct SimdSums {
  kr_matrix8x8 of[kRowMatrices][kOutputMatrices];
};
static_assert(kPromptRows * kOutputStride <= kWTileFloats, "y's tile is no larger than W's");
static_assert(kPromptRows <= kLanes, "a lane looks at one row's flags");

KR_FN void store_piece(KR_TG float* to, KR_THREAD const float* from) {
  KR_UNROLL
  for (uint32_t i = 0; i < kPiece; i += 4) {
    kr_float4 four;
    four.x = from[i];
    four.y = from[i + 1];
    four.z = from[i + 2];
    four.w = from[i + 3];
    *reinterpret_cast<KR_TG kr_float4*>(to + i) = four;
  }
}

// Columns [at, at + kPromptDepth) of the tile's `count` rows of x; 0 beyond either end.
KR_FN void stage_x(KR_THREAD const KrThread& self, KR_TG float* tile, KR_DEVICE const float* x,
                   uint32_t count, uint32_t at, uint32_t k, bool vectors) {
  const uint32_t pieces = kPromptDepth / kPiece;  // of a row
  KR_UNROLL
  for (uint32_t i = 0; i < kPromptRows * pieces; i += kPromptThreads) {
    const uint32_t row = (i + self.index) / pieces;
    const uint32_t column = (i + self.index) % pieces * kPiece;
    float piece[kPiece] = {};
    if (row < count && at + column < k) {
      load_piece(piece, x + static_cast<uint64_t>(row) * k, at + column, k, vectors);
    }
    store_piece(tile + row * kDepthStride + column, piece);
  }
}

// The same columns of W's rows from `first` on; of n rows.
template <class Matrix>
KR_FN void stage_weights(KR_THREAD const KrThread& self, KR_TG float* tile,
                         KR_THREAD const Matrix& matrix, uint32_t first, uint32_t n, uint32_t at,
                         uint32_t k) {
  const uint32_t pieces = kPromptDepth / kPiece;
  KR_UNROLL
  for (uint32_t i = 0; i < kPromptOutputs * pieces; i += kPromptThreads) {
    const uint32_t output = (i + self.index) / pieces;
    const uint32_t column = (i + self.index) % pieces * kPiece;
    float piece[kPiece] = {};
    if (first + output < n && at + column < k) {
      load_weights(piece, matrix, first + output, at + column);
    }
    store_piece(tile + output * kDepthStride + column, piece);
  }
}

// Whether the launch wants any row of the tile's r-th row of matrices.
KR_FN bool wants(uint32_t rows, uint32_t r) {
  return (rows >> (r * kMatrixDim) & 0xffu) != 0;
}

// sums += the tile of x * the simdgroup's part of W's tile, transposed.
KR_FN void multiply_tiles(KR_THREAD const KrThread& self, KR_THREAD SimdSums& sums,
                          KR_TG const float* x_tile, KR_TG const float* w_tile, uint32_t wanted) {
  KR_UNROLL
  for (uint32_t at = 0; at < kPromptDepth; at += kMatrixDim) {
    kr_matrix8x8 w[kOutputMatrices];
    KR_UNROLL
    for (uint32_t o = 0; o < kOutputMatrices; ++o) {
      const uint32_t output = self.simd * kSimdOutputs + o * kMatrixDim;
      kr_matrix_load(w[o], w_tile + output * kDepthStride + at, kDepthStride, true);
    }
    KR_UNROLL
    for (uint32_t r = 0; r < kRowMatrices; ++r) {
      if (!wants(wanted, r)) continue;  // the same for the whole threadgroup
      kr_matrix8x8 x;
      kr_matrix_load(x, x_tile + r * kMatrixDim * kDepthStride + at, kDepthStride, false);
      KR_UNROLL
      for (uint32_t o = 0; o < kOutputMatrices; ++o) kr_matrix_multiply_add(sums.of[r][o], x, w[o]);
    }
  }
}

// Grid: tiles of rows, tiles of outputs.
template <class Matrix>
KR_FN void prompt_matmul_body(KR_CONSTANT const DialectParams& params,
                              KR_THREAD const KrThread& self, KR_TG float* x_tile,
                              KR_TG float* w_tile) {
  KR_CONSTANT const ops::MatmulArgs& args = kr_args<ops::MatmulArgs>(params);
  const uint32_t n = args.weight.n, k = args.weight.k;
  const uint32_t rows = row_count(params, args.rows);
  const uint32_t first_row = self.group_x * kPromptRows;
  const uint32_t first_output = self.group_y * kPromptOutputs;
  if (first_row >= rows) return;  // the threadgroup as a whole, here and below
  const uint32_t count = kr_min(kPromptRows, rows - first_row);
  const uint32_t wanted = wanted_rows(params, self, first_row, count);
  if (wanted == 0) return;
  Matrix matrix;
  open_matrix(matrix, params, 2, k, kr_launch_value(params, 0));
  KR_DEVICE const float* x =
      kr_buffer<const float>(params, 1) + static_cast<uint64_t>(first_row) * k;
  const bool x_vectors = whole_vectors(x, k);

  SimdSums sums;
  KR_UNROLL
  for (uint32_t r = 0; r < kRowMatrices; ++r) {
    KR_UNROLL
    for (uint32_t o = 0; o < kOutputMatrices; ++o) kr_matrix_fill(sums.of[r][o], 0.0f);
  }
  for (uint32_t at = 0; at < k; at += kPromptDepth) {
    stage_x(self, x_tile, x, count, at, k, x_vectors);
    stage_weights(self, w_tile, matrix, first_output, n, at, k);
    kr_shared_barrier();
    multiply_tiles(self, sums, x_tile, w_tile, wanted);
    kr_shared_barrier();
  }

  KR_UNROLL
  for (uint32_t r = 0; r < kRowMatrices; ++r) {
    if (!wants(wanted, r)) continue;
    KR_UNROLL
    for (uint32_t o = 0; o < kOutputMatrices; ++o) {
      const uint32_t output = self.simd * kSimdOutputs + o * kMatrixDim;
      kr_matrix_store(sums.of[r][o], w_tile + r * kMatrixDim * kOutputStride + output,
                      kOutputStride);
    }
  }
  kr_shared_barrier();
  for (uint32_t i = self.index; i < kPromptRows * kPromptOutputs; i += kPromptThreads) {
    const uint32_t row = i / kPromptOutputs, output = i % kPromptOutputs;
    if ((wanted >> row & 1u) == 0 || first_output + output >= n) continue;
    write_output(params, args.flags, n, first_row + row, first_output + output,
                 w_tile[row * kOutputStride + output]);
  }
}

}  // namespace krserve::kernels::tuned_metal
