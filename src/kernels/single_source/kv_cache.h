// Finds keys and values in the paged KV cache.
#pragma once

#include "kernels/ops/kv_layout.h"
#include "kernels/single_source/weights.h"

namespace krserve::kernels::single_source {

KR_FN uint32_t storage_bytes(FloatType type) {
  return type == FloatType::kF32 ? 4 : 2;
}

// Bytes of one head's keys (or values) in a page.
KR_FN uint64_t kv_head_bytes(KR_CONSTANT const ops::KvLayout& kv) {
  return static_cast<uint64_t>(kv.page_tokens) * kv.head_dim * storage_bytes(kv.type);
}

// Address of the head's key at a position, for a sequence whose page list begins at `pages`. Its
// value follows one plane, kv_heads * kv_head_bytes, later.
KR_FN uint64_t kv_key_address(KR_CONSTANT const DialectParams& params, uint32_t first_segment,
                              KR_CONSTANT const ops::KvLayout& kv, KR_DEVICE const uint32_t* pages,
                              uint32_t position, uint32_t head) {
  const uint32_t index = position / kv.page_tokens;
  const uint32_t page = pages[index];
  const uint32_t in_segment = page & ((1u << kv.segment_shift) - 1u);
  const uint64_t head_bytes = kv_head_bytes(kv);
  const uint64_t plane = static_cast<uint64_t>(kv.layer) * 2 * kv.kv_heads + head;
  const uint32_t row = (position - index * kv.page_tokens) * kv.head_dim * storage_bytes(kv.type);
  return kr_address(kr_buffer<uint8_t>(params, first_segment + (page >> kv.segment_shift))) +
         in_segment * kv.page_bytes + plane * head_bytes + row;
}

}  // namespace krserve::kernels::single_source
