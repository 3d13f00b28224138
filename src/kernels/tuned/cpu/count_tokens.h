// count_tokens: a task per row; the first row of a sequence's run does the whole run, in order.
#pragma once

#include "kernels/ops/sample.h"
#include "kernels/tuned/cpu/step.h"

namespace krserve::kernels::KR_CPU_ISA {

inline uint32_t count_tokens_tasks(const Call& call) {
  return step_header(call).num_rows;
}

KR_INLINE void count_row(uint16_t* counts, const ops::StepRow& row, uint32_t vocab) {
  if ((row.flags & ops::kRowClearCounts) != 0) {
    __builtin_memset(counts, 0, vocab * sizeof(uint16_t));
  }
  if (row.token < 0 || static_cast<uint32_t>(row.token) >= vocab) return;
  uint16_t& count = counts[row.token];
  if ((row.flags & ops::kRowCountPrompt) != 0) {
    count = static_cast<uint16_t>(count | ops::kCountPromptBit);
  }
  if ((row.flags & ops::kRowCountOutput) != 0 && (count & 0x7fffu) != 0x7fffu) ++count;
}

inline void count_tokens_run(const Call& call, uint32_t begin, uint32_t end, Scratch&) {
  const auto& args = args_of<ops::CountTokensArgs>(call);
  const ops::StepRow* rows = step_rows(call, args.layout);
  const uint32_t num_rows = step_header(call).num_rows;
  for (uint32_t first = begin; first < end; ++first) {
    const uint32_t slot = rows[first].slot;
    if (first > 0 && rows[first - 1].slot == slot) continue;
    uint16_t* counts = buffer_of<uint16_t>(call, 1) + size_t{slot} * args.vocab;
    for (uint32_t r = first; r < num_rows && rows[r].slot == slot; ++r) {
      count_row(counts, rows[r], args.vocab);
    }
  }
}

}  // namespace krserve::kernels::KR_CPU_ISA
