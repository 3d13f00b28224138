// silu_mul: a threadgroup takes kSiluPiece elements of a row.
#pragma once

#include "kernels/ops/silu_mul.h"
#include "kernels/single_source/common.h"

namespace krserve::kernels::single_source {

KR_FN float silu(float x) {
  return kr_divide(x, 1.0f + kr_exp(-x));
}

// Grid: rows, pieces.
KR_FN void silu_mul_body(KR_CONSTANT const DialectParams& params, KR_THREAD const KrThread& self) {
  KR_CONSTANT const ops::SiluMulArgs& args = kr_args<ops::SiluMulArgs>(params);
  if (self.group_x >= row_count(params, args.rows)) return;
  const uint64_t row = static_cast<uint64_t>(self.group_x) * args.dim;
  KR_DEVICE float* gate = kr_buffer<float>(params, 1) + row;
  KR_DEVICE const float* up = kr_buffer<const float>(params, 2) + row;
  const uint32_t end = kr_min(args.dim, (self.group_y + 1) * kSiluPiece);
  for (uint32_t i = self.group_y * kSiluPiece + self.index; i < end; i += self.count) {
    gate[i] = silu(gate[i]) * up[i];
  }
}

}  // namespace krserve::kernels::single_source
