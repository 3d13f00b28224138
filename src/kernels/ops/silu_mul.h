// silu_mul: gate = silu(gate) * up, in place, for the step's rows. What `up` holds afterwards is
// not specified: a back end may compute gate, up and their product in one kernel.
#pragma once

#include "kernels/ops/types.h"

namespace krserve::ops {

// Buffers: 0 step params, 1 gate f32 [rows, dim] (in place), 2 up f32 [rows, dim].
struct SiluMulArgs {
  uint32_t dim;
  RowCount rows;
};

}  // namespace krserve::ops
