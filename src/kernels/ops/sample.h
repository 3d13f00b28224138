// count_tokens and sample: penalties and the draw of the next token, wholly on the device.
#pragma once

#include "kernels/ops/step_params.h"

namespace krserve::ops {

// count_tokens runs before the forward pass and keeps token_counts of slots whose sequence uses
// penalties. A row with position 0 clears its slot first. A row with an explicit token >= 0 sets
// kCountPromptBit of it (a row with kTokenFromSlot was already counted when it was sampled).
// Which slots are counted is told by slot_flags.
// Buffers: 0 step params, 1 token_counts u16 [slots, vocab], 2 slot_flags u32 [slots] (1 = count).
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

inline constexpr int32_t kSampledNan = -2;

}  // namespace krserve::ops
