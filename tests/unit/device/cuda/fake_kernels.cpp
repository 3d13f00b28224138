// The CUDA back end's kernels, as the fake runtime runs them: the CPU's portable ones.
#include <cstring>

#include "fake_runtime.h"
#include "kernels/cpu_kernels.h"
#include "kernels/cuda_kernels.h"
#include "kernels/single_source/launch.h"

namespace krserve::kernels::cuda {
namespace {

// Every launch marks the workspace while it runs: it must be zero, and nobody else's.
constexpr uint64_t kWorkspaceBytes = 256;

struct Params {
  GpuDispatch dispatch;
  uint64_t* workspace;
};
static_assert(sizeof(Params) <= kMaxParamsBytes);

void run(const std::byte* bytes) {
  Params params;
  std::memcpy(&params, bytes, sizeof(params));
  if (__atomic_fetch_add(params.workspace, 1, __ATOMIC_ACQ_REL) != 0) {
    fake_cuda::Runtime::get().add_violation("the workspace was not zero");
  }
  static const CpuKernelTable& table = cpu_kernel_table(SimdLevel::kPortable);
  const CpuKernel& kernel = table.kernels[static_cast<uint32_t>(params.dispatch.op)];
  const Call call{params.dispatch.args, params.dispatch.buffers};
  Scratch scratch;
  if (const uint32_t tasks = kernel.task_count(call)) kernel.run(call, 0, tasks, scratch);
  __atomic_fetch_sub(params.workspace, 1, __ATOMIC_ACQ_REL);
}

}  // namespace

// Refuses what the real plan refuses.
uint64_t workspace_bytes(std::span<const GpuDispatch> dispatches, const GpuFacts&) {
  for (const GpuDispatch& dispatch : dispatches) {
    static_cast<void>(single_source::dialect_workspace_bytes(dispatch));
  }
  return kWorkspaceBytes * dispatches.size();
}

std::vector<GpuLaunch> plan_launches(std::span<const GpuDispatch> dispatches, const GpuFacts&,
                                     void* workspace) {
  std::vector<GpuLaunch> out(dispatches.size());
  for (size_t i = 0; i < dispatches.size(); ++i) {
    const Params params{dispatches[i], static_cast<uint64_t*>(workspace)};
    out[i].kernel = reinterpret_cast<const void*>(&run);
    out[i].name = ops::op_name(dispatches[i].op);
    out[i].block = {128, 1, 1};
    out[i].params_bytes = sizeof(params);
    out[i].overlaps_previous = true;
    std::memcpy(out[i].params, &params, sizeof(params));
  }
  return out;
}

int prepare_kernels(const GpuFacts&) {
  return 0;
}

}  // namespace krserve::kernels::cuda
