// matmul: a simdgroup computes kOutputs outputs for up to kRows rows.
//
// Lane l sums pieces l, l + 32, ... of k, one fma per weight in order; kr_simd_sum adds the lanes.
// That is the same for every kRows and kOutputs, so a row's bits do not depend on the step.
#pragma once

#include "kernels/ops/matmul.h"
#include "kernels/single_source/weights.h"

namespace krserve::kernels::single_source {

KR_FN void write_output(KR_CONSTANT const DialectParams& params, uint32_t flags, uint32_t n,
                        uint64_t row, uint32_t output, float value) {
  KR_DEVICE float* y = kr_buffer<float>(params, 6) + row * n + output;
  if ((flags & ops::kMatmulBias) != 0) value += kr_buffer<const float>(params, 5)[output];
  if ((flags & ops::kMatmulAccumulate) != 0) value += *y;
  *y = value;
}

// The rows that the launch computes of `count` from first_row on, at most one for each lane, as
// bits. All lanes must be here.
KR_FN uint32_t wanted_rows(KR_CONSTANT const DialectParams& params, KR_THREAD const KrThread& self,
                           uint32_t first_row, uint32_t count) {
  const MatmulRows which = static_cast<MatmulRows>(kr_launch_value(params, 1));
  const uint32_t all = ~0u >> (kLanes - count);
  if (which == MatmulRows::kAll) return all;
  const uint32_t row = first_row + kr_min(self.lane, count - 1);
  const uint32_t flags = step_rows(params, sizeof(ops::StepHeader))[row].flags;
  const bool prompt = self.lane < count && (flags & ops::kRowPrompt) != 0;
  const uint32_t prompts = kr_simd_sum(prompt ? 1u << self.lane : 0u);
  return which == MatmulRows::kPrompts ? prompts : all & ~prompts;
}

// Grid: tiles of rows, tiles of outputs.
template <class Matrix, uint32_t kRows, uint32_t kOutputs>
KR_FN void matmul_body(KR_CONSTANT const DialectParams& params, KR_THREAD const KrThread& self) {
  static_assert(kRows * kOutputs <= kLanes, "a lane writes one output");
  KR_CONSTANT const ops::MatmulArgs& args = kr_args<ops::MatmulArgs>(params);
  const uint32_t n = args.weight.n, k = args.weight.k;
  const uint32_t rows = row_count(params, args.rows);
  const uint32_t first_row = self.group_x * kRows;
  const uint32_t first_output = (self.group_y * self.simds + self.simd) * kOutputs;
  if (first_row >= rows || first_output >= n) return;  // a simdgroup as a whole; no barrier follows
  const uint32_t count = kr_min(kRows, rows - first_row);
  const uint32_t wanted = wanted_rows(params, self, first_row, count);
  if (wanted == 0) return;
  Matrix matrix;
  open_matrix(matrix, params, 2, k, kr_launch_value(params, 0));
  KR_DEVICE const float* x =
      kr_buffer<const float>(params, 1) + static_cast<uint64_t>(first_row) * k;
  const bool x_vectors = whole_vectors(x, k);

  float sums[kRows][kOutputs] = {};
  KR_UNROLL_BY(kRows == 1 ? 4 : 1)
  for (uint32_t at = self.lane * kPiece; at < k; at += kLanes * kPiece) {
    float w[kOutputs][kPiece];
    KR_UNROLL
    for (uint32_t o = 0; o < kOutputs; ++o) {
      load_weights(w[o], matrix, kr_min(first_output + o, n - 1), at);
    }
    KR_UNROLL
    for (uint32_t r = 0; r < kRows; ++r) {
      if (r >= count) continue;
      float xs[kPiece];
      load_piece(xs, x + static_cast<uint64_t>(r) * k, at, k, x_vectors);
      KR_UNROLL
      for (uint32_t o = 0; o < kOutputs; ++o) {
        KR_UNROLL
        for (uint32_t i = 0; i < kPiece; ++i) sums[r][o] = kr_fma(w[o][i], xs[i], sums[r][o]);
      }
    }
  }

  float mine = 0.0f;
  KR_UNROLL
  for (uint32_t r = 0; r < kRows; ++r) {
    KR_UNROLL
    for (uint32_t o = 0; o < kOutputs; ++o) {
      const float sum = r < count ? sums[r][o] : 0.0f;
      const float total = kr_simd_sum(sum);
      if (self.lane == r * kOutputs + o) mine = total;
    }
  }
  const uint32_t row = self.lane / kOutputs, output = first_output + self.lane % kOutputs;
  if ((wanted >> row & 1u) != 0 && output < n) {
    write_output(params, args.flags, n, first_row + row, output, mine);
  }
}

}  // namespace krserve::kernels::single_source
