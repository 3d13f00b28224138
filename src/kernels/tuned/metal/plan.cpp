#include "kernels/tuned/metal/plan.h"

#include <algorithm>

#include "kernels/ops/matmul.h"
#include "kernels/single_source/launch.h"
#include "kernels/tuned/metal/kernel_ids.h"

namespace krserve::kernels::tuned_metal {

namespace {

uint32_t tiles(uint64_t of, uint32_t size) {
  return static_cast<uint32_t>(std::max<uint64_t>((of + size - 1) / size, 1));
}

}  // namespace

bool takes_prompt_matmul(const GpuDispatch& dispatch) {
  return dispatch.op == ops::Op::kMatmul &&
         single_source::splits_prompts(dispatch.args_as<ops::MatmulArgs>());
}

GpuLaunch prompt_matmul_launch(const GpuDispatch& dispatch, const GpuLaunch& others,
                               NumberedHandle handle) {
  const ops::WeightArgs& weight = dispatch.args_as<ops::MatmulArgs>().weight;
  const uint64_t rows = dispatch.bytes[1] / (uint64_t{weight.k} * sizeof(float));
  GpuLaunch launch = others;
  launch.kernel = handle(kFirstPromptMatmul + single_source::matmul_format(weight));
  launch.name = "prompt_matmul";
  launch.grid = {tiles(rows, kPromptRows), tiles(weight.n, kPromptOutputs)};
  launch.block.x = kPromptSimds * 32;
  single_source::set_matmul_rows(launch, single_source::MatmulRows::kPrompts);
  return launch;
}

}  // namespace krserve::kernels::tuned_metal
