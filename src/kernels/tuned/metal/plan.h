// Which dispatches take kernels written for Metal, and their launches.
#pragma once

#include "kernels/gpu_launch.h"

namespace krserve::kernels::tuned_metal {

// The back end's handle of a kernel, by its number.
using NumberedHandle = const void* (*)(uint32_t number);

// Whether rows of prompts take prompt_matmul: in a matmul of a step that may have some, not in the
// head's.
bool takes_prompt_matmul(const GpuDispatch& dispatch);

// The launch for those rows. `others` is the dialect's for the other rows, with
// DialectLimits::prompt_matmul; neither waits for the other, as they write different rows.
GpuLaunch prompt_matmul_launch(const GpuDispatch& dispatch, const GpuLaunch& others,
                               NumberedHandle handle);

}  // namespace krserve::kernels::tuned_metal
