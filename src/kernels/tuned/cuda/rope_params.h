// Parameters of the rope kernel, shared by the kernel and the planner.
#pragma once

#include "kernels/ops/rope_kv_write.h"

namespace krserve::kernels::cuda {

inline constexpr uint32_t kRopeWarps = 4;  // a head each

struct RopeParams {
  ops::RopeKvWriteArgs args;
  const uint8_t* step;  // step params
  float* q;             // [rows, heads * head_dim]
  const float* k;       // [rows, kv_heads * head_dim]
  const float* v;       // the same
  const float* table;   // [positions][2][head_dim / 2]
  const float* q_norm;  // [head_dim], with qk_norm only; also k_norm
  const float* k_norm;
  uint8_t* segments[ops::kMaxKvSegments];
};

// Null if there is none for this head size.
const void* rope_kernel_for(uint32_t head_dim);

}  // namespace krserve::kernels::cuda
