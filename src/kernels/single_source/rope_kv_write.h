// rope_kv_write: a simdgroup per row and head, of q first, then of k with its v.
#pragma once

#include "kernels/ops/rope_kv_write.h"
#include "kernels/single_source/kv_cache.h"

namespace krserve::kernels::single_source {

// Element pairs of a head that a lane holds.
KR_CONST uint32_t kRopePairs = kMaxHeadDim / 2 / kLanes;

// A lane's share of a head: elements lane + 32 i and those half a head later.
struct RopePairs {
  float low[kRopePairs];
  float high[kRopePairs];
};

KR_FN void load_pairs(KR_THREAD RopePairs& pairs, KR_DEVICE const float* x, uint32_t half_dim,
                      uint32_t lane) {
  KR_UNROLL
  for (uint32_t j = 0; j < kRopePairs; ++j) {
    const uint32_t i = lane + j * kLanes;
    pairs.low[j] = i < half_dim ? x[i] : 0.0f;
    pairs.high[j] = i < half_dim ? x[half_dim + i] : 0.0f;
  }
}

KR_FN void normalize(KR_THREAD RopePairs& pairs, KR_DEVICE const float* weight, uint32_t half_dim,
                     float eps, uint32_t lane) {
  float squares = 0.0f;
  KR_UNROLL
  for (uint32_t j = 0; j < kRopePairs; ++j) {
    squares = kr_fma(pairs.low[j], pairs.low[j], squares);
    squares = kr_fma(pairs.high[j], pairs.high[j], squares);
  }
  const float mean = kr_divide(kr_simd_sum(squares), static_cast<float>(2 * half_dim));
  const float inverse = kr_rsqrt(mean + eps);
  KR_UNROLL
  for (uint32_t j = 0; j < kRopePairs; ++j) {
    const uint32_t i = lane + j * kLanes;
    if (i >= half_dim) continue;
    pairs.low[j] = pairs.low[j] * inverse * weight[i];
    pairs.high[j] = pairs.high[j] * inverse * weight[half_dim + i];
  }
}

// `table`: the position's cosines, then its sines.
KR_FN void rotate(KR_THREAD RopePairs& pairs, KR_DEVICE const float* table, uint32_t half_dim,
                  uint32_t lane) {
  KR_UNROLL
  for (uint32_t j = 0; j < kRopePairs; ++j) {
    const uint32_t i = lane + j * kLanes;
    if (i >= half_dim) continue;
    const float cosine = table[i], sine = table[half_dim + i];
    const float low = pairs.low[j], high = pairs.high[j];
    pairs.low[j] = kr_fma(low, cosine, -(high * sine));
    pairs.high[j] = kr_fma(high, cosine, low * sine);
  }
}

KR_FN void store_as(KR_DEVICE float* to, float value) {
  *to = value;
}
KR_FN void store_as(KR_DEVICE kr_half* to, float value) {
  *to = kr_h16(value);
}
KR_FN void store_as(KR_DEVICE kr_bfloat* to, float value) {
  *to = kr_bf16(value);
}

template <class T>
KR_FN void store_pairs(KR_DEVICE T* to, KR_THREAD const RopePairs& pairs, uint32_t half_dim,
                       uint32_t lane) {
  KR_UNROLL
  for (uint32_t j = 0; j < kRopePairs; ++j) {
    const uint32_t i = lane + j * kLanes;
    if (i >= half_dim) continue;
    store_as(to + i, pairs.low[j]);
    store_as(to + half_dim + i, pairs.high[j]);
  }
}

KR_FN void cache_pairs(uint64_t address, FloatType type, KR_THREAD const RopePairs& pairs,
                       uint32_t half_dim, uint32_t lane) {
  if (type == FloatType::kF32) {
    store_pairs(kr_pointer<float>(address), pairs, half_dim, lane);
  } else if (type == FloatType::kF16) {
    store_pairs(kr_pointer<kr_half>(address), pairs, half_dim, lane);
  } else {
    store_pairs(kr_pointer<kr_bfloat>(address), pairs, half_dim, lane);
  }
}

// Grid: rows, kRopeSimds heads each.
KR_FN void rope_kv_write_body(KR_CONSTANT const DialectParams& params,
                              KR_THREAD const KrThread& self) {
  KR_CONSTANT const ops::RopeKvWriteArgs& args = kr_args<ops::RopeKvWriteArgs>(params);
  KR_CONSTANT const ops::KvLayout& kv = args.kv;
  const uint32_t r = self.group_x;
  const uint32_t line = self.group_y * kRopeSimds + self.simd;  // of q, then of k
  if (r >= step_header(params).num_rows || line >= args.heads + kv.kv_heads) return;
  const bool is_q = line < args.heads;
  const uint32_t head = is_q ? line : line - args.heads;
  const uint32_t half_dim = kv.head_dim / 2;
  const uint64_t at =
      (static_cast<uint64_t>(r) * (is_q ? args.heads : kv.kv_heads) + head) * kv.head_dim;
  KR_DEVICE float* x = kr_buffer<float>(params, is_q ? 1 : 2) + at;
  KR_DEVICE const ops::StepRow& row = step_rows(params, args.layout.rows_offset)[r];
  const uint32_t position = row.position;

  RopePairs pairs;
  load_pairs(pairs, x, half_dim, self.lane);
  if (args.qk_norm != 0) {
    normalize(pairs, kr_buffer<const float>(params, is_q ? 5 : 6), half_dim, args.norm_eps,
              self.lane);
  }
  KR_DEVICE const float* table =
      kr_buffer<const float>(params, 4) + static_cast<uint64_t>(position) * kv.head_dim;
  rotate(pairs, table, half_dim, self.lane);
  if (is_q) {
    store_pairs(x, pairs, half_dim, self.lane);
    return;
  }
  KR_DEVICE const uint32_t* pages = step_pages(params, args.layout.pages_offset) + row.pages_begin;
  const uint64_t key = kv_key_address(params, 7, kv, pages, position, head);
  cache_pairs(key, kv.type, pairs, half_dim, self.lane);
  load_pairs(pairs, kr_buffer<const float>(params, 3) + at, half_dim, self.lane);
  cache_pairs(key + kv.kv_heads * kv_head_bytes(kv), kv.type, pairs, half_dim, self.lane);
}

}  // namespace krserve::kernels::single_source
