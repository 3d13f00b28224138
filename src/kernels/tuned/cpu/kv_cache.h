// Finds keys and values in the paged KV cache.
#pragma once

#include "kernels/ops/kv_layout.h"
#include "kernels/tuned/cpu/step.h"

namespace krserve::kernels::KR_CPU_ISA {

using ops::KvLayout;

// Address of the keys of (page, head) at the layer; values follow one plane later.
KR_INLINE std::byte* kv_page_keys(const Call& call, uint32_t first_segment, const KvLayout& kv,
                                  uint32_t page, uint32_t head) {
  const uint32_t segment = page >> kv.segment_shift;
  const uint32_t in_segment = page & ((1u << kv.segment_shift) - 1);
  const size_t head_bytes = size_t{kv.page_tokens} * kv.head_dim * ops::bytes_of(kv.type);
  return buffer_of<std::byte>(call, first_segment + segment) + in_segment * kv.page_bytes +
         size_t{kv.layer} * 2 * kv.kv_heads * head_bytes + head * head_bytes;
}

KR_INLINE size_t kv_plane(const KvLayout& kv) {
  return size_t{kv.kv_heads} * kv.page_tokens * kv.head_dim * ops::bytes_of(kv.type);
}

}  // namespace krserve::kernels::KR_CPU_ISA
