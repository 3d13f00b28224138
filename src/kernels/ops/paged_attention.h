// paged_attention: out = softmax(q k^T * scale) v over the cached positions 0..position of each
// row.
#pragma once

#include "kernels/ops/kv_layout.h"
#include "kernels/ops/step_params.h"

namespace krserve::ops {

// Buffers: 0 step params, 1 q f32 [rows, heads*head_dim], 2 out f32 [rows, heads*head_dim],
// 3.. KV segments. Heads are grouped: query head h reads kv head h / (heads / kv_heads).
// A row's result depends on its own context only, bit for bit.
struct PagedAttentionArgs {
  KvLayout kv;
  StepLayout layout;
  uint32_t heads;
  float scale;
};

}  // namespace krserve::ops
