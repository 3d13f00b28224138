// rms_norm: one task per row.
#pragma once

#include "kernels/ops/rms_norm.h"
#include "kernels/tuned/cpu/step.h"

namespace krserve::kernels::KR_CPU_ISA {

// 1 / sqrt(mean(x^2) + eps).
KR_INLINE float inverse_rms(const float* x, size_t dim, float eps) {
  VecF even{}, odd{};
  size_t i = 0;
  for (; i + 2 * kLanes <= dim; i += 2 * kLanes) {
    const VecF a = load(x + i), b = load(x + i + kLanes);
    even = fma(a, a, even);
    odd = fma(b, b, odd);
  }
  for (; i < dim; i += kLanes) {
    const VecF a = load_part(x + i, smaller<size_t>(kLanes, dim - i));
    even = fma(a, a, even);
  }
  return 1.0f / __builtin_sqrtf(sum(even + odd) / static_cast<float>(dim) + eps);
}

// y = x * inverse * weight; y may be x.
KR_INLINE void scale_by_weight(float* y, const float* x, const void* weight, size_t dim,
                               float inverse) {
  const auto* w = static_cast<const std::byte*>(weight);
  size_t i = 0;
  for (; i + kLanes <= dim; i += kLanes) {
    store(y + i, load(x + i) * inverse * load(w + i * sizeof(float)));
  }
  if (i < dim) {
    const VecF v = load_part(x + i, dim - i) * inverse * load_part(w + i * sizeof(float), dim - i);
    store_part(y + i, v, dim - i);
  }
}

inline uint32_t rms_norm_tasks(const Call& call) {
  return row_count(call, args_of<ops::RmsNormArgs>(call).rows);
}

inline void rms_norm_run(const Call& call, uint32_t begin, uint32_t end, Scratch&) {
  const auto& args = args_of<ops::RmsNormArgs>(call);
  for (uint32_t r = begin; r < end; ++r) {
    const float* x = buffer_of<const float>(call, 1) + r * size_t{args.dim};
    float* y = buffer_of<float>(call, 3) + r * size_t{args.dim};
    scale_by_weight(y, x, buffer_of<const void>(call, 2), args.dim,
                    inverse_rms(x, args.dim, args.eps));
  }
}

}  // namespace krserve::kernels::KR_CPU_ISA
