#include "kernels/metal_kernels.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "kernels/entry/metal_text.h"
#include "kernels/single_source/kernel_ids.h"
#include "kernels/single_source/launch.h"

namespace krserve::kernels::metal {

namespace {

#define KR_HANDLE(name) #name
constexpr const char* kNames[] = {KR_ALL_KERNELS};
#undef KR_HANDLE
static_assert(std::size(kNames) == single_source::kKernelCount);

const void* handle_of(single_source::KernelId id) {
  return &kNames[static_cast<uint32_t>(id)];
}

single_source::DialectLimits limits_of(const GpuFacts& facts) {
  return {.hand_over = facts.language >= kHandOverLanguage};
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
    Launch& planned = launches.emplace_back();
    planned.kernel = static_cast<uint32_t>(static_cast<const char* const*>(launch.kernel) - kNames);
    planned.name = launch.name;
    planned.grid = launch.grid;
    planned.threads = launch.block.x;
    std::memcpy(&planned.params, launch.params, sizeof(planned.params));
    const bool takes_workspace = single_source::dialect_workspace_bytes(dispatch, limits) > 0;
    planned.barrier_before = dispatch.barrier_before || (takes_workspace && workspace_taken);
    workspace_taken = takes_workspace || (workspace_taken && !planned.barrier_before);
  }
  return launches;
}

}  // namespace krserve::kernels::metal
