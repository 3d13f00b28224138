// The planner: walks over recorded dispatches and makes launches of them.
//
// It runs twice: without a workspace to find how much is needed, then with one.
#pragma once

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernels/cuda_kernels.h"
#include "kernels/ops/matmul.h"
#include "kernels/single_source/sizes.h"
#include "kernels/tuned/cuda/attention_params.h"
#include "kernels/tuned/cuda/matmul_params.h"

namespace krserve::kernels::cuda {

// Counters at the start of the workspace, at the same place in every plan: zero between launches.
inline constexpr uint32_t kTiledArrivals = 4096;
inline constexpr uint32_t kAttentionArrivals = 1U << 17;
inline constexpr uint64_t kCounterBytes = (kTiledArrivals + kAttentionArrivals) * sizeof(uint32_t);
// Static shared memory of the stream kernels, at most.
inline constexpr uint32_t kStreamStaticBytes = 10 * 1024;

inline uint32_t ceil_div(uint64_t a, uint64_t b) {
  return static_cast<uint32_t>((a + b - 1) / b);
}
inline bool aligned(const void* pointer, uintptr_t to) {
  return reinterpret_cast<uintptr_t>(pointer) % to == 0;
}

// A part of the workspace, as large as the largest launch needs it.
struct Region {
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

struct WorkspaceLayout {
  Region halves;    // prepared rows
  Region unscale;   // their scales
  Region partials;  // sums or softmax of parts
  Region dialect;   // of the single-source kernels

  // With offsets behind the counters.
  WorkspaceLayout placed() const {
    WorkspaceLayout out = *this;
    out.dialect.bytes = std::max(out.dialect.bytes, single_source::kWorkspaceDataOffset);
    uint64_t at = kCounterBytes;
    // The dialect's first: it has counters of its own, which must stay where they are.
    for (Region* region : {&out.dialect, &out.halves, &out.unscale, &out.partials}) {
      region->offset = at;
      at += (region->bytes + 255) / 256 * 256;
    }
    return out;
  }
  uint64_t total_bytes() const {
    const WorkspaceLayout all = placed();
    return all.partials.offset + all.partials.bytes + 256;
  }
};

struct MatmulGroup {
  size_t first = 0;
  size_t count = 0;
  uint32_t capacity = 0;  // rows that the buffers hold
  bool gated = false;     // with the silu_mul behind them
};

class Planner {
 public:
  Planner(std::span<const GpuDispatch> dispatches, const GpuFacts& facts,
          const WorkspaceLayout& layout, void* workspace);

  void run();
  const WorkspaceLayout& layout() const { return layout_; }
  std::vector<GpuLaunch> take_launches() { return std::move(launches_); }

 private:
  size_t plan_at(size_t at);
  MatmulGroup matmuls_at(size_t at) const;
  static bool has_kernel(const GpuDispatch& d);
  static bool go_together(const GpuDispatch& a, const GpuDispatch& b);
  bool is_gated(const MatmulGroup& group) const;
  // Dispatches taken from `next` on; 0 if there are no matmuls of the norm's result.
  size_t plan_norm_and_matmuls(const GpuDispatch& norm, size_t next);
  size_t plan_only_row(size_t at);
  size_t plan_matmuls(const MatmulGroup& group, const GpuDispatch* norm);
  bool overwrites(const MatmulGroup& group, const GpuDispatch& norm) const;
  MatmulParams matmul_params(const MatmulGroup& group, uint32_t tile_outputs) const;
  uint32_t blocks_of_stream(const MatmulGroup& group) const;
  uint32_t stream_parts(const MatmulGroup& group) const;
  void plan_prepare(const MatmulGroup& group, const GpuDispatch* norm, bool stream,
                    uint16_t* halves, float* unscale);
  // Hopper's own instructions, which later GPUs do not have; compiled for 90a alone.
  bool has_warpgroups() const;
  void plan_stream(const MatmulGroup& group, const GpuDispatch* norm, uint16_t* halves,
                   float* unscale);
  void plan_tiled(const MatmulGroup& group, uint16_t* halves, float* unscale);
  bool plan_rope(const GpuDispatch& d);
  bool writes_of_cache_are_of_the_step(const GpuDispatch& d) const;
  bool plan_attention(const GpuDispatch& d);
  bool plan_norm_alone(const GpuDispatch& d);
  bool plan_silu_alone(const GpuDispatch& d);
  bool plan_rows_alone(const PrepareParams& p, RowSource source, uint64_t bytes, const char* name);
  void plan_dialect(const GpuDispatch& d);

  uint32_t* arrivals(uint32_t from) const;
  template <class T>
  T* region(Region& region, uint64_t bytes) {
    region.bytes = std::max(region.bytes, bytes);
    return workspace_ ? reinterpret_cast<T*>(static_cast<std::byte*>(workspace_) + region.offset)
                      : nullptr;
  }
  template <class Params>
  void add(const void* kernel, const char* name, Dim3 grid, Dim3 block, uint32_t shared_bytes,
           const Params& params);

  std::span<const GpuDispatch> dispatches_;
  GpuFacts facts_;
  WorkspaceLayout layout_;
  void* workspace_;
  std::vector<GpuLaunch> launches_;
};

template <class Params>
void Planner::add(const void* kernel, const char* name, Dim3 grid, Dim3 block,
                  uint32_t shared_bytes, const Params& params) {
  static_assert(sizeof(Params) <= kMaxParamsBytes);
  if (!workspace_) return;
  GpuLaunch& launch = launches_.emplace_back();
  launch.kernel = kernel;
  launch.name = name;
  launch.grid = grid;
  launch.block = block;
  launch.shared_bytes = shared_bytes;
  launch.params_bytes = sizeof(Params);
  launch.overlaps_previous = facts_.compute_capability >= 90;
  std::memcpy(launch.params, &params, sizeof(Params));
}

WorkspaceLayout measure(std::span<const GpuDispatch> dispatches, const GpuFacts& facts);

}  // namespace krserve::kernels::cuda
