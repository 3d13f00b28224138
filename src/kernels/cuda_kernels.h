// CUDA's kernels: from recorded dispatches to launches.
#pragma once

#include <span>
#include <vector>

#include "kernels/gpu_launch.h"

namespace krserve::kernels::cuda {

// What the choice of kernels depends on.
struct GpuFacts {
  uint32_t compute_capability = 90;  // 10 * major + minor
  uint32_t multiprocessors = 132;
  uint32_t max_shared_bytes = 227 * 1024;  // of one block, opted in
};

// Device memory that the launches of these dispatches need beside their buffers. It must be zero
// when it is new; launches leave the parts that must be zero so. Both throw std::invalid_argument
// for a dispatch that no kernel can do.
uint64_t workspace_bytes(std::span<const GpuDispatch> dispatches, const GpuFacts& facts);

// The launches for dispatches that follow each other without copies or fills in between. Dispatches
// may be merged into one launch; what is in the bound buffers afterwards is the same.
std::vector<GpuLaunch> plan_launches(std::span<const GpuDispatch> dispatches, const GpuFacts& facts,
                                     void* workspace);

// Must be called once for each device before the first launch: allows large threadgroup memory.
// Returns a cudaError_t, 0 for success.
int prepare_kernels(const GpuFacts& facts);

}  // namespace krserve::kernels::cuda
