// count_tokens and sample: bias, penalties and the draw of the next token, wholly on the device.
#pragma once

#include "kernels/ops/step_params.h"

namespace krserve::ops {

// count_tokens runs before the forward pass and does what each row's RowFlags say: clear the slot's
// counts first, then set kCountPromptBit of the row's token or add one to its output count. Rows
// without flags are skipped.
// Buffers: 0 step params, 1 token_counts u16 [slots, vocab].
struct CountTokensArgs {
  StepLayout layout;
  uint32_t vocab;
};

// Buffers: 0 step params, 1 logits f32 [samples, vocab] (may be overwritten), 2 token_counts u16
// [slots, vocab] (updated with the drawn token when kSamplePenalties), 3 out last_token i32
// [slots], 4 out sampled i32 [samples].
// Ties go to the lowest token id. A row whose logits hold a NaN yields kSampledNan in `sampled` and
// 0 in last_token: the host fails that sequence alone.
struct SampleArgs {
  StepLayout layout;
  uint32_t vocab;
};

KR_CONST int32_t kSampledNan = -2;

}  // namespace krserve::ops
