// gather_rows: y[s] = x[row of sample s], so that only sampled rows reach the output layer.
#pragma once

#include "kernels/ops/step_params.h"

namespace krserve::ops {

// Buffers: 0 step params, 1 x f32 [rows, dim], 2 out y f32 [samples, dim].
struct GatherRowsArgs {
  StepLayout layout;
  uint32_t dim;
};

}  // namespace krserve::ops
