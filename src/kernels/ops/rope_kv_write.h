// rope_kv_write: per-head norm of q and k where the model has it, rotary embedding of q (in place)
// and k, and k and v written to the row's place in the KV cache.
#pragma once

#include "kernels/ops/kv_layout.h"
#include "kernels/ops/step_params.h"

namespace krserve::ops {

// Buffers: 0 step params, 1 q f32 [rows, heads*head_dim] (in place), 2 k f32 [rows,
// kv_heads*head_dim], 3 v likewise, 4 rope table f32 [positions][2][head_dim/2] (cos, then sin),
// 5 q_norm f32 [head_dim], 6 k_norm f32 [head_dim] (5 and 6 with qk_norm only), 7.. KV segments.
// Rotation pairs element i with i + head_dim/2 (Hugging Face's rotate_half).
struct RopeKvWriteArgs {
  KvLayout kv;
  StepLayout layout;
  uint32_t heads;
  uint32_t qk_norm;  // 0 or 1
  float norm_eps;
};

}  // namespace krserve::ops
