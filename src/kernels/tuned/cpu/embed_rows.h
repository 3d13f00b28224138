// embed_rows: one task per row.
#pragma once

#include "kernels/ops/embed_rows.h"
#include "kernels/tuned/cpu/step.h"
#include "kernels/tuned/cpu/weights.h"

namespace krserve::kernels::KR_CPU_ISA {

inline uint32_t embed_rows_tasks(const Call& call) {
  return step_header(call).num_rows;
}

inline void embed_rows_run(const Call& call, uint32_t begin, uint32_t end, Scratch& scratch) {
  const auto& args = args_of<ops::EmbedRowsArgs>(call);
  const WeightArgs& weight = args.weight;
  const ops::StepRow* rows = step_rows(call, args.layout);
  const auto* last_token = buffer_of<const int32_t>(call, 4);
  auto* x = buffer_of<float>(call, 5);
  const size_t groups = round_up(groups_per_row(weight), 16);
  const size_t padded = round_up(weight.k, kLanes);
  auto* scales = static_cast<float*>(scratch.reserve((2 * groups + padded) * sizeof(float)));
  float* biases = scales + groups;
  float* line = biases + groups;
  for (uint32_t r = begin; r < end; ++r) {
    int32_t token = rows[r].token;
    if (token == ops::kTokenFromSlot) token = last_token[rows[r].slot];
    if (token < 0 || static_cast<uint32_t>(token) >= weight.n) token = 0;
    const auto index = static_cast<size_t>(token);
    const std::byte* row = buffer_of<const std::byte>(call, 1) + index * row_bytes(weight);
    if (is_quantized(weight.format)) {
      load_group_values(scales, buffer_of<const void>(call, 2), weight, index, 1);
      load_group_values(biases, buffer_of<const void>(call, 3), weight, index, 1);
    }
    with_format(weight.format, [&](auto format) {
      unpack_row<decltype(format)>(line, kLanes, row, scales, biases, weight.group_size, 0,
                                   weight.k);
    });
    __builtin_memcpy(x + r * size_t{weight.k}, line, weight.k * sizeof(float));
  }
}

}  // namespace krserve::kernels::KR_CPU_ISA
