// Where the key and value of a token lie in the paged KV cache.
#pragma once

#include "kernels/ops/types.h"

namespace krserve::ops {

// Most separate buffers (segments) the cache is made of.
KR_CONST uint32_t kMaxKvSegments = 8;

// A page holds page_tokens tokens of one sequence for all layers:
// [layer][k, v][kv_head][page_tokens][head_dim] of `type`.
// Page p lies in segment p >> segment_shift, at (p & (2^segment_shift - 1)) * page_bytes.
struct KvLayout {
  uint64_t page_bytes;
  uint32_t page_tokens;
  uint32_t segment_shift;
  uint32_t kv_heads;
  uint32_t head_dim;
  FloatType type;
  uint32_t layer;  // the layer this dispatch works on
};

// Bytes of one layer's keys (or values) in a page.
constexpr uint64_t kv_plane_bytes(KvLayout kv) {
  return uint64_t{kv.kv_heads} * kv.page_tokens * kv.head_dim * bytes_of(kv.type);
}

}  // namespace krserve::ops
