// count_tokens: a threadgroup per row; that of the first row of a slot's run does the whole run.
#pragma once

#include "kernels/ops/sample.h"
#include "kernels/single_source/common.h"

namespace krserve::kernels::single_source {

// The row behind the run of rows with the slot of row `first`.
KR_FN uint32_t end_of_run(KR_THREAD const KrThread& self, KR_TG uint32_t* part,
                          KR_DEVICE const ops::StepRow* rows, uint32_t first, uint32_t num_rows) {
  const uint32_t slot = rows[first].slot;
  uint32_t end = num_rows;
  for (uint32_t r = first + self.index; r < num_rows; r += self.count) {
    if (rows[r].slot == slot) continue;
    end = r;
    break;
  }
  return group_min(self, part, end);
}

KR_FN void count_row(KR_DEVICE uint16_t* count, uint32_t flags) {
  uint32_t value = *count;
  if ((flags & ops::kRowCountPrompt) != 0) value |= ops::kCountPromptBit;
  if ((flags & ops::kRowCountOutput) != 0 && (value & 0x7fffu) != 0x7fffu) ++value;
  *count = static_cast<uint16_t>(value);
}

KR_FN void count_tokens_body(KR_CONSTANT const DialectParams& params,
                             KR_THREAD const KrThread& self, KR_TG uint32_t* part) {
  KR_CONSTANT const ops::CountTokensArgs& args = kr_args<ops::CountTokensArgs>(params);
  KR_DEVICE const ops::StepRow* rows = step_rows(params, args.layout.rows_offset);
  const uint32_t num_rows = step_header(params).num_rows;
  const uint32_t first = self.group_x;
  if (first >= num_rows) return;
  const uint32_t slot = rows[first].slot;
  if (first > 0 && rows[first - 1].slot == slot) return;
  const uint32_t end = end_of_run(self, part, rows, first, num_rows);
  uint32_t flags = 0, clear = 0;  // the last row that clears, counted from 1
  for (uint32_t r = first + self.index; r < end; r += self.count) {
    flags |= rows[r].flags & ops::kRowCounts;
    if ((rows[r].flags & ops::kRowClearCounts) != 0) clear = r + 1;
  }
  if (group_max(self, part, flags) == 0) return;
  clear = group_max(self, part, clear);

  KR_DEVICE uint16_t* counts =
      kr_buffer<uint16_t>(params, 1) + static_cast<uint64_t>(slot) * args.vocab;
  // A token belongs to one thread, which clears its count and then counts its rows in order.
  if (clear > 0) {
    for (uint32_t i = self.index; i < args.vocab; i += self.count) counts[i] = 0;
  }
  for (uint32_t r = clear > 0 ? clear - 1 : first; r < end; ++r) {
    const int32_t token = rows[r].token;
    if (token < 0 || static_cast<uint32_t>(token) >= args.vocab) continue;
    if (static_cast<uint32_t>(token) % self.count == self.index) {
      count_row(counts + token, rows[r].flags);
    }
  }
}

}  // namespace krserve::kernels::single_source
