// The list of Metal's kernels: those of the dialect, and behind them the ones for Metal alone.
#pragma once

#include "kernels/single_source/kernel_ids.h"

// KR_HANDLE(the name given to KR_KERNEL) for each. A kernel's place is its number.
#define KR_ADDRESS_OF_PROMPT_MATMUL(format, rows) KR_HANDLE(kr_prompt_matmul_##format),
#define KR_ALL_METAL_KERNELS KR_ALL_KERNELS KR_MATMUL_FORMATS(KR_ADDRESS_OF_PROMPT_MATMUL, 32)

namespace krserve::kernels::tuned_metal {

// The first of the prompt_matmuls, in the order of KR_MATMUL_FORMATS.
KR_CONST uint32_t kFirstPromptMatmul = single_source::kKernelCount;
#define KR_ONE(format, rows) +1
KR_CONST uint32_t kMetalKernelCount = kFirstPromptMatmul KR_MATMUL_FORMATS(KR_ONE, 32);
#undef KR_ONE

// prompt_matmul's threadgroup, and the tile of y that it computes, kPromptDepth of k at a time.
KR_CONST uint32_t kPromptSimds = 4;
KR_CONST uint32_t kPromptRows = 32;
KR_CONST uint32_t kPromptOutputs = 64;
KR_CONST uint32_t kPromptDepth = 32;

}  // namespace krserve::kernels::tuned_metal
