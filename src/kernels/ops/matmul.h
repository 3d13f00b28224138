// matmul: y[r, n] = sum_k x[r, k] * W[n, k] (+ bias[n]) (+ y[r, n]).
#pragma once

#include "kernels/ops/types.h"

namespace krserve::ops {

enum MatmulFlags : uint32_t {
  kMatmulBias = 1u << 0,        // add bias f32 [n]
  kMatmulAccumulate = 1u << 1,  // add to what y holds (the residual)
  // Some rows may have kRowPrompt. A device that has a matmul of its own for those computes them
  // in another order of sums; others ignore it. RowCount::kRows only.
  kMatmulPrompts = 1u << 2,
};

// Buffers: 0 step params, 1 x f32 [rows, k], 2 weight, 3 scales [n, k/group], 4 biases [n, k/group]
// (3 and 4 quantized only), 5 bias f32 [n] (kMatmulBias only), 6 y f32 [rows, n].
// A row's result does not depend on the step's other rows, bit for bit.
struct MatmulArgs {
  WeightArgs weight;
  RowCount rows;
  uint32_t flags;
};

}  // namespace krserve::ops
