// Parameters of the attention kernels, shared by the kernels and the planner.
#pragma once

#include "kernels/ops/paged_attention.h"

namespace krserve::kernels::cuda {

// Positions whose softmax is one piece of arithmetic; pieces are merged in order of position. The
// same for decode and prefill, so both give the same bits.
inline constexpr uint32_t kSplit = 64;
inline constexpr uint32_t kDecodeWarps = 4;  // a split each
// Query heads of one kv head that the kernels take together.
inline constexpr uint32_t kMaxGroup = 8;

struct AttentionParams {
  ops::PagedAttentionArgs args;
  const uint8_t* step;  // step params
  const float* q;       // [rows, heads * head_dim]
  float* out;           // [rows, heads * head_dim]
  const uint8_t* segments[ops::kMaxKvSegments];
  uint32_t group;  // heads / kv_heads
  uint32_t row_capacity;
  uint32_t split_capacity;  // partial results that fit, the rows' first splits included
  float* partials;          // [split][kv_head][partial_floats]
  uint32_t* arrivals;       // [rows, kv_heads], zero between launches
  // Of the cache, the launches before write the step's own positions only: the others can be read
  // before those launches have ended.
  bool early_keys;
};

// Null if there is none for this type and head size. `decode`: rows that are alone in their
// sequence; the other kernel does runs of rows.
const void* attention_kernel_for(ops::FloatType type, uint32_t head_dim, bool decode);
uint32_t attention_shared_bytes(uint32_t head_dim, uint32_t warps, bool decode);

// A partial result: the weighted sums of the values, then peak and sum of each head. 16-byte
// aligned.
constexpr uint32_t partial_floats(uint32_t group, uint32_t head_dim) {
  return group * head_dim + (group * 2 + 3) / 4 * 4;
}

// Warps of a block of the kernel for runs, and the tokens it takes.
constexpr uint32_t run_subtiles(uint32_t group) {
  return group >= 8 ? 1 : 8 / group;
}

}  // namespace krserve::kernels::cuda
