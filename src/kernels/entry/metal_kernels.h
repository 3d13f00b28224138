// Metal's kernels: a function for each of KR_ALL_METAL_KERNELS. Included once, by Metal's text and
// by the emulator's entry file.
#pragma once

#include "kernels/entry/kernels.h"
#include "kernels/tuned/metal/prompt_matmul.h"

using namespace krserve::kernels::tuned_metal;  // NOLINT(google-build-using-namespace)

#define KR_PROMPT_MATMUL(format, rows)                                                         \
  KR_KERNEL(kr_prompt_matmul_##format, kPromptThreads, KR_SHARED(float, x_tile, kXTileFloats); \
            KR_SHARED(float, w_tile, kWTileFloats);                                            \
            prompt_matmul_body<Matrix##format>(params, self, x_tile, w_tile);)
KR_MATMUL_FORMATS(KR_PROMPT_MATMUL, 32)
