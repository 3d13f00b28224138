// rms_norm: y = x / sqrt(mean(x^2) + eps) * weight, per row.
#pragma once

#include "kernels/ops/types.h"

namespace krserve::ops {

// Buffers: 0 step params, 1 x f32 [rows, dim], 2 weight f32 [dim], 3 out y f32 [rows, dim].
// x and y may be the same buffer.
struct RmsNormArgs {
  uint32_t dim;
  float eps;
  RowCount rows;
};

}  // namespace krserve::ops
