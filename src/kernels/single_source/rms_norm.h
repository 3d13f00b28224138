// rms_norm: a threadgroup per row.
#pragma once

#include "kernels/ops/rms_norm.h"
#include "kernels/single_source/common.h"

namespace krserve::kernels::single_source {

// x and y may be the same: a thread writes what it alone reads after the sum.
KR_FN void rms_norm_body(KR_CONSTANT const DialectParams& params, KR_THREAD const KrThread& self,
                         KR_TG float* part) {
  KR_CONSTANT const ops::RmsNormArgs& args = kr_args<ops::RmsNormArgs>(params);
  if (self.group_x >= row_count(params, args.rows)) return;
  const uint64_t row = static_cast<uint64_t>(self.group_x) * args.dim;
  KR_DEVICE const float* x = kr_buffer<const float>(params, 1) + row;
  KR_DEVICE const float* weight = kr_buffer<const float>(params, 2);
  KR_DEVICE float* y = kr_buffer<float>(params, 3) + row;
  float squares = 0.0f;
  for (uint32_t i = self.index; i < args.dim; i += self.count) {
    squares = kr_fma(x[i], x[i], squares);
  }
  const float mean = kr_divide(group_sum(self, part, squares), static_cast<float>(args.dim));
  const float inverse = kr_rsqrt(mean + args.eps);
  for (uint32_t i = self.index; i < args.dim; i += self.count) y[i] = x[i] * inverse * weight[i];
}

}  // namespace krserve::kernels::single_source
