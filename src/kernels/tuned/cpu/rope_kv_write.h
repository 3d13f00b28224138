// rope_kv_write: one task per row.
#pragma once

#include "kernels/ops/rope_kv_write.h"
#include "kernels/tuned/cpu/convert.h"
#include "kernels/tuned/cpu/kv_cache.h"
#include "kernels/tuned/cpu/rms_norm.h"

namespace krserve::kernels::KR_CPU_ISA {

// out[i] = x[i] cos[i] - x[i + half] sin[i]; out[i + half] = x[i + half] cos[i] + x[i] sin[i].
KR_INLINE void rotate(float* out, const float* x, const float* cos, const float* sin, size_t half) {
  for (size_t i = 0; i < half; i += kLanes) {
    const size_t count = smaller<size_t>(kLanes, half - i);
    const VecF a = load_part(x + i, count), b = load_part(x + half + i, count);
    const VecF c = load_part(cos + i, count), s = load_part(sin + i, count);
    store_part(out + i, fma(a, c, -(b * s)), count);
    store_part(out + half + i, fma(b, c, a * s), count);
  }
}

inline uint32_t rope_kv_write_tasks(const Call& call) {
  return step_header(call).num_rows;
}

inline void rope_kv_write_run(const Call& call, uint32_t begin, uint32_t end, Scratch& scratch) {
  const auto& args = args_of<ops::RopeKvWriteArgs>(call);
  const KvLayout& kv = args.kv;
  const size_t dim = kv.head_dim, half = dim / 2;
  const ops::StepRow* rows = step_rows(call, args.layout);
  const uint32_t* pages = step_pages(call, args.layout);
  auto* line = static_cast<float*>(scratch.reserve(dim * sizeof(float)));
  for (uint32_t r = begin; r < end; ++r) {
    const uint32_t position = rows[r].position;
    const float* cos = buffer_of<const float>(call, 4) + position * dim;
    const float* sin = cos + half;
    for (uint32_t h = 0; h < args.heads; ++h) {
      float* q = buffer_of<float>(call, 1) + (size_t{r} * args.heads + h) * dim;
      if (args.qk_norm != 0) {
        scale_by_weight(q, q, buffer_of<const void>(call, 5), dim,
                        inverse_rms(q, dim, args.norm_eps));
      }
      rotate(q, q, cos, sin, half);
    }
    const uint32_t page = pages[rows[r].pages_begin + position / kv.page_tokens];
    const size_t offset = position % kv.page_tokens * dim * ops::bytes_of(kv.type);
    for (uint32_t h = 0; h < kv.kv_heads; ++h) {
      const size_t at = (size_t{r} * kv.kv_heads + h) * dim;
      const float* k = buffer_of<const float>(call, 2) + at;
      std::byte* cached = kv_page_keys(call, 7, kv, page, h) + offset;
      if (args.qk_norm != 0) {
        scale_by_weight(line, k, buffer_of<const void>(call, 6), dim,
                        inverse_rms(k, dim, args.norm_eps));
        k = line;
      }
      rotate(line, k, cos, sin, half);
      from_f32(cached, line, kv.type, dim);
      from_f32(cached + kv_plane(kv), buffer_of<const float>(call, 3) + at, kv.type, dim);
    }
  }
}

}  // namespace krserve::kernels::KR_CPU_ISA
