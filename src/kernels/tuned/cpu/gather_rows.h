// gather_rows: one task per sample.
#pragma once

#include "kernels/ops/gather_rows.h"
#include "kernels/tuned/cpu/step.h"

namespace krserve::kernels::KR_CPU_ISA {

inline uint32_t gather_rows_tasks(const Call& call) {
  return step_header(call).num_samples;
}

inline void gather_rows_run(const Call& call, uint32_t begin, uint32_t end, Scratch&) {
  const auto& args = args_of<ops::GatherRowsArgs>(call);
  const float* x = buffer_of<const float>(call, 1);
  float* y = buffer_of<float>(call, 2);
  for (uint32_t s = begin; s < end; ++s) {
    const size_t row = sample_row(call, args.layout, s).row;
    __builtin_memcpy(y + s * size_t{args.dim}, x + row * args.dim, args.dim * sizeof(float));
  }
}

}  // namespace krserve::kernels::KR_CPU_ISA
