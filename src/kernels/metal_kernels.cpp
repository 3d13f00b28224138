#include "kernels/metal_kernels.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "kernels/entry/metal_text.h"
#include "kernels/ops/matmul.h"
#include "kernels/single_source/launch.h"
#include "kernels/single_source/sizes.h"
#include "kernels/tuned/metal/kernel_ids.h"
#include "kernels/tuned/metal/plan.h"

namespace krserve::kernels::metal {

namespace {

#define KR_HANDLE(name) #name
constexpr const char* kNames[] = {KR_ALL_METAL_KERNELS};
#undef KR_HANDLE
static_assert(std::size(kNames) == tuned_metal::kMetalKernelCount);

const void* numbered(uint32_t number) {
  return &kNames[number];
}
const void* handle_of(single_source::KernelId id) {
  return numbered(static_cast<uint32_t>(id));
}

single_source::DialectLimits limits_of(const GpuFacts& facts) {
  return {.hand_over = facts.language >= kHandOverLanguage, .prompt_matmul = facts.matrices};
}

Launch planned(const GpuLaunch& launch, bool barrier_before) {
  Launch result;
  result.kernel = static_cast<uint32_t>(static_cast<const char* const*>(launch.kernel) - kNames);
  result.name = launch.name;
  result.grid = launch.grid;
  result.threads = launch.block.x;
  result.barrier_before = barrier_before;
  std::memcpy(&result.params, launch.params, sizeof(result.params));
  return result;
}

// Of a thread of any kernel but matmul, in multiply-adds: a guess that only has to keep proportion.
constexpr double kWorkOfThread = 64;

double work_of_threads(const Launch& launch) {
  return double{kWorkOfThread} * launch.grid.x * launch.grid.y * launch.grid.z * launch.threads;
}

double work_of(const GpuDispatch& dispatch, const Launch& launch) {
  if (dispatch.op != ops::Op::kMatmul) return work_of_threads(launch);
  const ops::WeightArgs& weight = dispatch.args_as<ops::MatmulArgs>().weight;
  return static_cast<double>(dispatch.bytes[1]) / sizeof(float) * weight.n;  // rows * k * n
}

Launch bytes_launch(single_source::KernelId kernel, const char* name,
                    const single_source::CopyBytesArgs& args, uint64_t to, uint64_t from) {
  Launch launch;
  launch.kernel = static_cast<uint32_t>(kernel);
  launch.name = name;
  launch.grid.x = static_cast<uint32_t>((args.bytes + single_source::kCopyPiece - 1) /
                                        single_source::kCopyPiece);
  launch.threads = single_source::kRowThreads;
  std::memcpy(launch.params.args, &args, sizeof(args));
  launch.params.buffers[0] = reinterpret_cast<void*>(to);
  launch.params.buffers[1] = reinterpret_cast<void*>(from);
  launch.work = work_of_threads(launch);
  return launch;
}

}  // namespace

std::string library_text() {
  std::string text;
  for (const std::string_view piece : library_pieces()) text += piece;
  return text;
}

std::span<const char* const> kernel_names() {
  return kNames;
}

uint64_t workspace_bytes(std::span<const GpuDispatch> dispatches, const GpuFacts& facts) {
  uint64_t most = 0;
  for (const GpuDispatch& dispatch : dispatches) {
    most = std::max(most, single_source::dialect_workspace_bytes(dispatch, limits_of(facts)));
  }
  return most;
}

std::vector<Launch> plan_launches(std::span<const GpuDispatch> dispatches, const GpuFacts& facts,
                                  void* workspace) {
  const single_source::DialectLimits limits = limits_of(facts);
  std::vector<Launch> launches;
  launches.reserve(dispatches.size());
  bool workspace_taken = false;  // by a launch that the next one may run beside
  for (const GpuDispatch& dispatch : dispatches) {
    const GpuLaunch launch = single_source::dialect_launch(dispatch, workspace, handle_of, limits);
    const bool takes_workspace = single_source::dialect_workspace_bytes(dispatch, limits) > 0;
    bool barrier = dispatch.barrier_before || (takes_workspace && workspace_taken);
    workspace_taken = takes_workspace || (workspace_taken && !barrier);
    if (facts.matrices && tuned_metal::takes_prompt_matmul(dispatch)) {
      const GpuLaunch prompts = tuned_metal::prompt_matmul_launch(dispatch, launch, numbered);
      launches.push_back(planned(prompts, barrier));
      launches.back().work = work_of(dispatch, launches.back());
      barrier = false;
    }
    launches.push_back(planned(launch, barrier));
    launches.back().work = work_of(dispatch, launches.back());
  }
  return launches;
}

Launch copy_launch(uint64_t to, uint64_t from, uint64_t bytes) {
  return bytes_launch(single_source::KernelId::kCopyBytes, "copy", {bytes, 0}, to, from);
}

Launch fill_launch(uint64_t to, uint8_t value, uint64_t bytes) {
  return bytes_launch(single_source::KernelId::kFillBytes, "fill", {bytes, value * 0x01010101u}, to,
                      0);
}

}  // namespace krserve::kernels::metal
