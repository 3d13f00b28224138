// Access to a call's arguments, buffers and step parameters.
#pragma once

#include "kernels/ops/step_params.h"
#include "kernels/ops/types.h"
#include "kernels/tuned/cpu/vec.h"

namespace krserve::kernels::KR_CPU_ISA {

template <class Args>
KR_INLINE const Args& args_of(const Call& call) {
  return *static_cast<const Args*>(call.args);
}
template <class T>
KR_INLINE T* buffer_of(const Call& call, uint32_t index) {
  return static_cast<T*>(call.buffers[index]);
}

KR_INLINE const ops::StepHeader& step_header(const Call& call) {
  return *buffer_of<const ops::StepHeader>(call, 0);
}
KR_INLINE const ops::StepRow* step_rows(const Call& call, const ops::StepLayout& layout) {
  return reinterpret_cast<const ops::StepRow*>(buffer_of<const std::byte>(call, 0) +
                                               layout.rows_offset);
}
KR_INLINE const ops::SampleRow& sample_row(const Call& call, const ops::StepLayout& layout,
                                           uint32_t i) {
  return reinterpret_cast<const ops::SampleRow*>(buffer_of<const std::byte>(call, 0) +
                                                 layout.samples_offset)[i];
}
KR_INLINE const uint32_t* step_pages(const Call& call, const ops::StepLayout& layout) {
  return reinterpret_cast<const uint32_t*>(buffer_of<const std::byte>(call, 0) +
                                           layout.pages_offset);
}
KR_INLINE const ops::LogitBias* step_biases(const Call& call, const ops::StepLayout& layout) {
  return reinterpret_cast<const ops::LogitBias*>(step_pages(call, layout) +
                                                 step_header(call).num_pages);
}
KR_INLINE uint32_t row_count(const Call& call, ops::RowCount which) {
  const ops::StepHeader& header = step_header(call);
  return which == ops::RowCount::kRows ? header.num_rows : header.num_samples;
}

}  // namespace krserve::kernels::KR_CPU_ISA
