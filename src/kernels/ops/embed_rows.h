// embed_rows: x[r] = embedding[token of row r], for r < num_rows.
#pragma once

#include "kernels/ops/step_params.h"
#include "kernels/ops/types.h"

namespace krserve::ops {

// Buffers: 0 step params, 1 weight [vocab, hidden], 2 scales, 3 biases (2 and 3 quantized only),
// 4 last_token i32 [slots], 5 out x f32 [rows, hidden]. A token outside the vocabulary reads row 0.
struct EmbedRowsArgs {
  WeightArgs weight;  // n = vocab, k = hidden
  StepLayout layout;
};

}  // namespace krserve::ops
