// What the single-source kernels share: step parameters, and sums and scans over a threadgroup.
#pragma once

#include "kernels/dialect/dialect.h"
#include "kernels/ops/step_params.h"
#include "kernels/ops/types.h"
#include "kernels/single_source/sizes.h"

namespace krserve::kernels::single_source {

// Most simdgroups of a threadgroup.
KR_CONST uint32_t kMaxSimds = 32;

KR_FN KR_DEVICE const ops::StepHeader& step_header(KR_CONSTANT const DialectParams& params) {
  return *kr_buffer<const ops::StepHeader>(params, 0);
}
KR_FN KR_DEVICE const ops::StepRow* step_rows(KR_CONSTANT const DialectParams& params,
                                              uint32_t rows_offset) {
  return reinterpret_cast<KR_DEVICE const ops::StepRow*>(kr_buffer<const uint8_t>(params, 0) +
                                                         rows_offset);
}
KR_FN KR_DEVICE const ops::SampleRow* sample_rows(KR_CONSTANT const DialectParams& params,
                                                  uint32_t samples_offset) {
  return reinterpret_cast<KR_DEVICE const ops::SampleRow*>(kr_buffer<const uint8_t>(params, 0) +
                                                           samples_offset);
}
KR_FN KR_DEVICE const uint32_t* step_pages(KR_CONSTANT const DialectParams& params,
                                           uint32_t pages_offset) {
  return reinterpret_cast<KR_DEVICE const uint32_t*>(kr_buffer<const uint8_t>(params, 0) +
                                                     pages_offset);
}
KR_FN KR_DEVICE const ops::LogitBias* step_biases(KR_CONSTANT const DialectParams& params,
                                                  uint32_t pages_offset) {
  return reinterpret_cast<KR_DEVICE const ops::LogitBias*>(step_pages(params, pages_offset) +
                                                           step_header(params).num_pages);
}
KR_FN uint32_t row_count(KR_CONSTANT const DialectParams& params, ops::RowCount which) {
  return which == ops::RowCount::kRows ? step_header(params).num_rows
                                       : step_header(params).num_samples;
}

// Sum over the threadgroup, the same in every thread; `part` has kMaxSimds entries.
KR_FN float group_sum(KR_THREAD const KrThread& self, KR_TG float* part, float value) {
  const float sum = kr_simd_sum(value);
  if (self.lane == 0) part[self.simd] = sum;
  kr_barrier();
  const float total = kr_simd_sum(self.lane < self.simds ? part[self.lane] : 0.0f);
  kr_barrier();
  return total;
}

KR_FN uint32_t group_max(KR_THREAD const KrThread& self, KR_TG uint32_t* part, uint32_t value) {
  const uint32_t highest = kr_simd_max(value);
  if (self.lane == 0) part[self.simd] = highest;
  kr_barrier();
  const uint32_t total = kr_simd_max(self.lane < self.simds ? part[self.lane] : 0u);
  kr_barrier();
  return total;
}

KR_FN uint32_t group_min(KR_THREAD const KrThread& self, KR_TG uint32_t* part, uint32_t value) {
  const uint32_t lowest = kr_simd_min(value);
  if (self.lane == 0) part[self.simd] = lowest;
  kr_barrier();
  const uint32_t total = kr_simd_min(self.lane < self.simds ? part[self.lane] : ~0u);
  kr_barrier();
  return total;
}

// True in the last of `expected` threadgroups to come here; what those before wrote through
// KR_COHERENT pointers is then seen through such. The counter is zero again afterwards.
KR_FN bool last_to_arrive(KR_THREAD const KrThread& self, KR_TG uint32_t* part,
                          KR_DEVICE uint32_t* counter, uint32_t expected) {
  kr_device_fence();
  kr_barrier();
  if (self.index == 0) part[0] = kr_atomic_add(counter, 1);
  kr_barrier();
  const bool last = part[0] + 1 == expected;
  if (last && self.index == 0) *counter = 0;
  kr_device_fence();
  kr_barrier();
  return last;
}

}  // namespace krserve::kernels::single_source
