#include "cli/selftest/cases.h"

#include <algorithm>

namespace krserve::selftest {
namespace {

template <class T>
void put(Bytes& bytes, size_t at, const std::vector<T>& values) {
  if (!values.empty()) std::memcpy(bytes.data() + at, values.data(), values.size() * sizeof(T));
}

}  // namespace

void for_each_case(Extent extent, const CaseSink& sink) {
  copy_cases(extent, sink);
  row_cases(extent, sink);
  matmul_cases(extent, sink);
  layer_cases(extent, sink);
  attention_cases(extent, sink);
  sample_cases(extent, sink);
}

ops::StepLayout StepRows::layout() const {
  return ops::step_layout(static_cast<uint32_t>(rows.size()) + 2,
                          static_cast<uint32_t>(samples.size()) + 3);
}

Content StepRows::content() const {
  const ops::StepLayout at = layout();
  const size_t biases_at = ops::biases_offset(at, pages.size());
  Content out{Bytes(biases_at + biases.size() * sizeof(ops::LogitBias) + 16)};
  const ops::StepHeader header{
      static_cast<uint32_t>(rows.size()), static_cast<uint32_t>(samples.size()),
      static_cast<uint32_t>(pages.size()), static_cast<uint32_t>(biases.size())};
  std::memcpy(out.bytes.data(), &header, sizeof(header));
  put(out.bytes, at.rows_offset, rows);
  put(out.bytes, at.samples_offset, samples);
  put(out.bytes, at.pages_offset, pages);
  put(out.bytes, biases_at, biases);
  return out;
}

Content step_header(uint32_t rows) {
  return Content::of(std::vector<ops::StepHeader>{{rows, rows, 0, 0}});
}

const char* name_of(ops::WeightFormat format) {
  constexpr const char* kNames[] = {"f32", "f16", "bf16", "q4", "q8"};
  return kNames[static_cast<uint32_t>(format)];
}

const char* name_of(ops::FloatType type) {
  constexpr const char* kNames[] = {"f32", "f16", "bf16"};
  return kNames[static_cast<uint32_t>(type)];
}

}  // namespace krserve::selftest
