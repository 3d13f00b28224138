// gather_rows: a threadgroup per sample.
#pragma once

#include "kernels/ops/gather_rows.h"
#include "kernels/single_source/common.h"

namespace krserve::kernels::single_source {

KR_FN void gather_rows_body(KR_CONSTANT const DialectParams& params,
                            KR_THREAD const KrThread& self) {
  KR_CONSTANT const ops::GatherRowsArgs& args = kr_args<ops::GatherRowsArgs>(params);
  if (self.group_x >= step_header(params).num_samples) return;
  const uint32_t row = sample_rows(params, args.layout.samples_offset)[self.group_x].row;
  KR_DEVICE const float* x =
      kr_buffer<const float>(params, 1) + static_cast<uint64_t>(row) * args.dim;
  KR_DEVICE float* y = kr_buffer<float>(params, 2) + static_cast<uint64_t>(self.group_x) * args.dim;
  for (uint32_t i = self.index; i < args.dim; i += self.count) y[i] = x[i];
}

}  // namespace krserve::kernels::single_source
