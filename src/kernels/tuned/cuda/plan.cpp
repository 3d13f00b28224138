// From recorded dispatches to launches: which kernel each op takes on this GPU, and which ops share
// a launch.
#include "kernels/tuned/cuda/plan.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/entry/cuda_kernels.h"
#include "kernels/ops/gather_rows.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/silu_mul.h"
#include "kernels/single_source/launch.h"
#include "kernels/tuned/cuda/matmul_kernels.h"

namespace krserve::kernels::cuda {
namespace {

constexpr uint32_t kThreads = 256;

const uint32_t* count_address(void* step, ops::RowCount which) {
  return static_cast<const uint32_t*>(step) + (which == ops::RowCount::kRows ? 0 : 1);
}

}  // namespace

Planner::Planner(std::span<const GpuDispatch> dispatches, const GpuFacts& facts,
                 const WorkspaceLayout& layout, void* workspace)
    : dispatches_(dispatches), facts_(facts), layout_(layout), workspace_(workspace) {}

void Planner::run() {
  if (workspace_) launches_.reserve(dispatches_.size() + dispatches_.size() / 4);
  for (size_t at = 0; at < dispatches_.size();) at += plan_at(at);
}

bool Planner::has_warpgroups() const {
#ifdef KR_CUDA_90A
  return facts_.compute_capability == 90;
#else
  return false;
#endif
}

// Plans what begins at `at`; how many dispatches that were.
size_t Planner::plan_at(size_t at) {
  const GpuDispatch& d = dispatches_[at];
  if (d.op == ops::Op::kRmsNorm) {
    if (const size_t taken = plan_norm_and_matmuls(d, at + 1)) return 1 + taken;
  }
  if (d.op == ops::Op::kGatherRows) {
    if (const size_t taken = plan_only_row(at)) return taken;
  }
  if (d.op == ops::Op::kMatmul) {
    if (const MatmulGroup group = matmuls_at(at); group.count > 0) {
      return plan_matmuls(group, nullptr);
    }
  }
  if (d.op == ops::Op::kRopeKvWrite && plan_rope(d)) return 1;
  if (d.op == ops::Op::kPagedAttention && plan_attention(d)) return 1;
  if (d.op == ops::Op::kRmsNorm && plan_norm_alone(d)) return 1;
  if (d.op == ops::Op::kSiluMul && plan_silu_alone(d)) return 1;
  plan_dialect(d);
  return 1;
}

// Matmuls of the same x that may run together and for which there is a kernel; none if count is 0.
MatmulGroup Planner::matmuls_at(size_t at) const {
  MatmulGroup group;
  group.first = at;
  while (at + group.count < dispatches_.size() && group.count < kMaxMatrices) {
    const GpuDispatch& d = dispatches_[at + group.count];
    if (d.op != ops::Op::kMatmul || (group.count > 0 && d.barrier_before)) break;
    if (!has_kernel(d) || (group.count > 0 && !go_together(dispatches_[at], d))) break;
    ++group.count;
  }
  if (group.count == 0) return group;
  const GpuDispatch& d = dispatches_[at];
  const auto& args = d.args_as<ops::MatmulArgs>();
  group.capacity = static_cast<uint32_t>(d.bytes[1] / (uint64_t{args.weight.k} * sizeof(float)));
  for (size_t i = 0; i < group.count; ++i) {
    const GpuDispatch& m = dispatches_[at + i];
    const uint64_t row = uint64_t{m.args_as<ops::MatmulArgs>().weight.n} * sizeof(float);
    group.capacity = std::min(group.capacity, static_cast<uint32_t>(m.bytes[6] / row));
  }
  group.gated = is_gated(group);
  return group;
}

bool Planner::has_kernel(const GpuDispatch& d) {
  const auto& args = d.args_as<ops::MatmulArgs>();
  const ops::WeightArgs& w = args.weight;
  if (w.format == ops::WeightFormat::kF32 || w.k % 8 != 0 || w.n == 0 || w.k == 0) return false;
  if (!aligned(d.buffers[1], 16) || !aligned(d.buffers[2], 16) || !aligned(d.buffers[6], 4)) {
    return false;
  }
  if (uint64_t{w.n} * w.k * sizeof(uint16_t) > UINT32_MAX) return false;
  if (w.format != ops::WeightFormat::kQ4 && w.format != ops::WeightFormat::kQ8) return true;
  return ops::bytes_of(w.scale_type) == 2 && w.k % 32 == 0 && w.group_size >= 32 &&
         std::has_single_bit(w.group_size) && w.k % w.group_size == 0 &&
         aligned(d.buffers[3], 16) && aligned(d.buffers[4], 16);
}

bool Planner::go_together(const GpuDispatch& a, const GpuDispatch& b) {
  const auto& x = a.args_as<ops::MatmulArgs>();
  const auto& y = b.args_as<ops::MatmulArgs>();
  return a.buffers[0] == b.buffers[0] && a.buffers[1] == b.buffers[1] && x.rows == y.rows &&
         x.weight.k == y.weight.k && x.weight.format == y.weight.format &&
         x.weight.scale_type == y.weight.scale_type && x.weight.group_size == y.weight.group_size &&
         (x.flags & ops::kMatmulAccumulate) == (y.flags & ops::kMatmulAccumulate);
}

// Two matmuls, gate and up, and then silu_mul of their results.
bool Planner::is_gated(const MatmulGroup& group) const {
  const size_t next = group.first + group.count;
  if (group.count != 2 || next >= dispatches_.size()) return false;
  const GpuDispatch& silu = dispatches_[next];
  if (silu.op != ops::Op::kSiluMul || !silu.barrier_before) return false;
  const GpuDispatch& gate = dispatches_[group.first];
  const GpuDispatch& up = dispatches_[group.first + 1];
  const auto& args = gate.args_as<ops::MatmulArgs>();
  const auto& silu_args = silu.args_as<ops::SiluMulArgs>();
  return silu.buffers[0] == gate.buffers[0] && silu.buffers[1] == gate.buffers[6] &&
         silu.buffers[2] == up.buffers[6] && silu_args.dim == args.weight.n &&
         up.args_as<ops::MatmulArgs>().weight.n == args.weight.n && silu_args.rows == args.rows &&
         (args.flags & ops::kMatmulAccumulate) == 0;
}

size_t Planner::plan_norm_and_matmuls(const GpuDispatch& norm, size_t next) {
  if (next >= dispatches_.size() || !dispatches_[next].barrier_before) return 0;
  const MatmulGroup group = matmuls_at(next);
  if (group.count == 0) return 0;
  const GpuDispatch& first = dispatches_[group.first];
  const auto& args = norm.args_as<ops::RmsNormArgs>();
  const auto& matmul = first.args_as<ops::MatmulArgs>();
  if (first.buffers[0] != norm.buffers[0] || first.buffers[1] != norm.buffers[3] ||
      args.dim != matmul.weight.k || args.rows != matmul.rows || !aligned(norm.buffers[1], 16) ||
      !aligned(norm.buffers[2], 16)) {
    return 0;
  }
  return plan_matmuls(group, &norm);
}

// Of one row the sampled one is the first: the norm behind gather_rows, in place, reads it where it
// is.
size_t Planner::plan_only_row(size_t at) {
  if (at + 1 >= dispatches_.size()) return 0;
  const GpuDispatch& gather = dispatches_[at];
  GpuDispatch norm = dispatches_[at + 1];
  const uint64_t row = uint64_t{gather.args_as<ops::GatherRowsArgs>().dim} * sizeof(float);
  if (norm.op != ops::Op::kRmsNorm || !norm.barrier_before || gather.bytes[1] >= 2 * row ||
      norm.args_as<ops::RmsNormArgs>().dim * sizeof(float) != row ||
      norm.args_as<ops::RmsNormArgs>().rows != ops::RowCount::kSamples ||
      norm.buffers[0] != gather.buffers[0] || norm.buffers[1] != gather.buffers[2] ||
      norm.buffers[3] != gather.buffers[2]) {
    return 0;
  }
  norm.buffers[1] = gather.buffers[1];
  norm.bytes[1] = gather.bytes[1];
  const size_t taken = plan_norm_and_matmuls(norm, at + 2);
  return taken > 0 ? 2 + taken : 0;
}

// Something is written over what the norm reads: blocks that are late would read it.
bool Planner::overwrites(const MatmulGroup& group, const GpuDispatch& norm) const {
  const auto* begin = static_cast<const std::byte*>(norm.buffers[1]);
  const auto* end = begin + norm.bytes[1];
  const auto overlaps = [&](const void* at, uint64_t bytes) {
    const auto* from = static_cast<const std::byte*>(at);
    return from < end && begin < from + bytes;
  };
  if (overlaps(norm.buffers[3], norm.bytes[3])) return true;
  for (size_t i = 0; i < group.count; ++i) {
    const GpuDispatch& d = dispatches_[group.first + i];
    if (overlaps(d.buffers[6], d.bytes[6])) return true;
  }
  return false;
}

MatmulParams Planner::matmul_params(const MatmulGroup& group, uint32_t tile_outputs) const {
  MatmulParams p{};
  const GpuDispatch& first = dispatches_[group.first];
  const auto& args = first.args_as<ops::MatmulArgs>();
  uint32_t tiles = 0;
  for (size_t i = 0; i < group.count; ++i) {
    const GpuDispatch& d = dispatches_[group.first + i];
    const auto& own = d.args_as<ops::MatmulArgs>();
    const bool bias = (own.flags & ops::kMatmulBias) != 0;
    p.matrices[i] = {static_cast<const uint8_t*>(d.buffers[2]),
                     static_cast<const uint8_t*>(d.buffers[3]),
                     static_cast<const uint8_t*>(d.buffers[4]),
                     bias ? static_cast<const float*>(d.buffers[5]) : nullptr,
                     static_cast<float*>(d.buffers[6]),
                     own.weight.n};
    tiles += ceil_div(own.weight.n, tile_outputs);
    p.tiles_end[i] = tiles;
  }
  const uint32_t size = args.weight.group_size;
  p.shape = {args.weight.k, size > 0 ? static_cast<uint32_t>(std::countr_zero(size)) : 0,
             args.weight.scale_type};
  p.row_count = count_address(first.buffers[0], args.rows);
  p.accumulate = (args.flags & ops::kMatmulAccumulate) != 0 ? 1 : 0;
  p.gated = group.gated ? 1 : 0;
  return p;
}

// The matmuls, the norm before them if there is one and the gate after them; dispatches taken
// without the norm.
size_t Planner::plan_matmuls(const MatmulGroup& group, const GpuDispatch* norm) {
  const size_t taken = group.count + (group.gated ? 1 : 0);
  const auto& args = dispatches_[group.first].args_as<ops::MatmulArgs>();
  const uint32_t k = args.weight.k;
  if (group.capacity == 0) return taken;
  const bool alone = group.capacity == 1 && (!norm || !overwrites(group, *norm));
  const bool stream = group.capacity <= kStreamRows && blocks_of_stream(group) > 0;
  if (stream && alone) {
    plan_stream(group, norm, nullptr, nullptr);
    return taken;
  }
  uint16_t* halves = region<uint16_t>(layout_.halves, uint64_t{group.capacity} * padded_k(k) * 2);
  float* unscale = region<float>(layout_.unscale, uint64_t{group.capacity} * sizeof(float));
  plan_prepare(group, norm, stream, halves, unscale);
  if (stream) {
    plan_stream(group, nullptr, halves, unscale);
  } else {
    plan_tiled(group, halves, unscale);
  }
  return taken;
}

// Blocks of the stream kernel that a multiprocessor holds at a time; 0 if it is not for these.
uint32_t Planner::blocks_of_stream(const MatmulGroup& group) const {
  const ops::WeightArgs& w = dispatches_[group.first].args_as<ops::MatmulArgs>().weight;
  const uint32_t parts = stream_parts(group);
  if (!stream_has_room(w.k, w.group_size, parts)) return 0;
  return std::min(2U, facts_.max_shared_bytes /
                          (stream_shared_bytes(w.format, w.k, group.capacity, w.group_size, parts) +
                           kStreamStaticBytes));
}

// Tiles of 16 outputs that a warp takes at a time: two where there are many, as each reads the rows
// once for both.
uint32_t Planner::stream_parts(const MatmulGroup& group) const {
  if (group.gated) return 2;
  uint32_t tiles = 0;
  for (size_t i = 0; i < group.count; ++i) {
    tiles += ceil_div(dispatches_[group.first + i].args_as<ops::MatmulArgs>().weight.n, 16);
  }
  return tiles >= 16 * facts_.multiprocessors ? 2 : 1;
}

void Planner::plan_prepare(const MatmulGroup& group, const GpuDispatch* norm, bool stream,
                           uint16_t* halves, float* unscale) {
  const GpuDispatch& first = dispatches_[group.first];
  const auto& args = first.args_as<ops::MatmulArgs>();
  PrepareParams p{};
  p.row_count = count_address(first.buffers[0], args.rows);
  p.x = static_cast<const float*>(norm ? norm->buffers[1] : first.buffers[1]);
  p.halves = halves;
  p.unscale = unscale;
  p.k = args.weight.k;
  if (norm) {
    p.other = static_cast<const float*>(norm->buffers[2]);
    p.values = static_cast<float*>(norm->buffers[3]);
    p.eps = norm->args_as<ops::RmsNormArgs>().eps;
  }
  const auto source = norm ? RowSource::kNorm : RowSource::kPlain;
  const bool warpgroup = !stream && has_warpgroups();
  add(prepare_kernel_for(args.weight.format, source, warpgroup), norm ? "norm_prepare" : "prepare",
      {group.capacity}, {kThreads}, 0, p);
}

void Planner::plan_stream(const MatmulGroup& group, const GpuDispatch* norm, uint16_t* halves,
                          float* unscale) {
  const GpuDispatch& first = dispatches_[group.first];
  const auto& args = first.args_as<ops::MatmulArgs>();
  const uint32_t blocks = blocks_of_stream(group) * facts_.multiprocessors;
  StreamParams p{};
  const uint32_t parts = stream_parts(group);
  p.matmul = matmul_params(group, group.gated ? 16 : 16 * parts);
  p.tiles = group.gated ? p.matmul.tiles_end[0] : p.matmul.tiles_end[group.count - 1];
  p.capacity = group.capacity;
  p.halves = halves;
  p.unscale = unscale;
  if (!halves) {
    p.x = static_cast<const float*>(norm ? norm->buffers[1] : first.buffers[1]);
    p.norm_weight = norm ? static_cast<const float*>(norm->buffers[2]) : nullptr;
    p.normed = norm ? static_cast<float*>(norm->buffers[3]) : nullptr;
    p.eps = norm ? norm->args_as<ops::RmsNormArgs>().eps : 0;
  }
  add(stream_kernel_for(args.weight.format, parts, !halves),
      group.gated ? "matmul_gated" : "matmul", {std::min(p.tiles, blocks)}, {kThreads},
      stream_shared_bytes(args.weight.format, args.weight.k, group.capacity, args.weight.group_size,
                          parts),
      p);
}

void Planner::plan_tiled(const MatmulGroup& group, uint16_t* halves, float* unscale) {
  const auto& args = dispatches_[group.first].args_as<ops::MatmulArgs>();
  TiledRows rows = group.capacity <= 32   ? TiledRows::k32
                   : group.capacity <= 64 ? TiledRows::k64
                                          : TiledRows::k128;
  if (tiled_shared_bytes(rows) > facts_.max_shared_bytes) rows = TiledRows::k64;
  TiledParams p{};
  p.matmul = matmul_params(group, group.gated ? kTiledOutputs / 2 : kTiledOutputs);
  p.halves = halves;
  p.unscale = unscale;
  const uint32_t across = group.gated ? p.matmul.tiles_end[0] : p.matmul.tiles_end[group.count - 1];
  const uint32_t down = ceil_div(group.capacity, static_cast<uint32_t>(rows));
  const uint32_t tiles = across * down;
  for (p.splits = 1; p.splits < 8 && tiles * p.splits < facts_.multiprocessors;) p.splits *= 2;
  if (tiles > kTiledArrivals) p.splits = 1;
  if (p.splits > 1) {
    p.partials = region<std::byte>(layout_.partials, uint64_t{tiles} * tiled_partials(rows) * 16);
    p.arrivals = arrivals(0);
  }
  const Dim3 grid{down, across, p.splits};
  const char* name = group.gated ? "matmul_gated_tiled" : "matmul_tiled";
  if (has_warpgroups()) {
    add(warpgroup_kernel_for(args.weight.format, rows), name, grid, {kThreads},
        warpgroup_shared_bytes(args.weight.format, rows), p);
  } else {
    add(tiled_kernel_for(args.weight.format, rows), name, grid, {kThreads},
        tiled_shared_bytes(rows), p);
  }
}

// A norm or a gate that is not merged with a matmul has the same arithmetic.
bool Planner::plan_norm_alone(const GpuDispatch& d) {
  const auto& args = d.args_as<ops::RmsNormArgs>();
  PrepareParams p{};
  p.row_count = count_address(d.buffers[0], args.rows);
  p.x = static_cast<const float*>(d.buffers[1]);
  p.other = static_cast<const float*>(d.buffers[2]);
  p.values = static_cast<float*>(d.buffers[3]);
  p.k = args.dim;
  p.eps = args.eps;
  return plan_rows_alone(p, RowSource::kNorm, std::min(d.bytes[1], d.bytes[3]), "rms_norm");
}

bool Planner::plan_silu_alone(const GpuDispatch& d) {
  const auto& args = d.args_as<ops::SiluMulArgs>();
  PrepareParams p{};
  p.row_count = count_address(d.buffers[0], args.rows);
  p.x = static_cast<const float*>(d.buffers[1]);
  p.other = static_cast<const float*>(d.buffers[2]);
  p.values = static_cast<float*>(d.buffers[1]);
  p.k = args.dim;
  return plan_rows_alone(p, RowSource::kSilu, std::min(d.bytes[1], d.bytes[2]), "silu_mul");
}

// `bytes`: what x and the result have room for.
bool Planner::plan_rows_alone(const PrepareParams& p, RowSource source, uint64_t bytes,
                              const char* name) {
  if (p.k == 0 || p.k % 8 != 0 || !aligned(p.x, 16) || !aligned(p.other, 16) ||
      !aligned(p.values, 16)) {
    return false;
  }
  const auto rows = static_cast<uint32_t>(bytes / (uint64_t{p.k} * sizeof(float)));
  if (rows == 0) return true;
  add(prepare_kernel_for(ops::WeightFormat::kF16, source, false), name, {rows}, {kThreads}, 0, p);
  return true;
}

// No tuned kernel: the single-source one.
void Planner::plan_dialect(const GpuDispatch& d) {
  const uint64_t bytes = single_source::dialect_workspace_bytes(d);
  void* memory = region<std::byte>(layout_.dialect, bytes);
  if (workspace_) {
    launches_.push_back(single_source::dialect_launch(d, memory, cuda_dialect_kernel));
    launches_.back().overlaps_previous = facts_.compute_capability >= 90;
  }
}

uint32_t* Planner::arrivals(uint32_t from) const {
  return workspace_ ? static_cast<uint32_t*>(workspace_) + from : nullptr;
}

uint64_t workspace_bytes(std::span<const GpuDispatch> dispatches, const GpuFacts& facts) {
  return measure(dispatches, facts).total_bytes();
}

WorkspaceLayout measure(std::span<const GpuDispatch> dispatches, const GpuFacts& facts) {
  Planner planner(dispatches, facts, {}, nullptr);
  planner.run();
  return planner.layout();
}

std::vector<GpuLaunch> plan_launches(std::span<const GpuDispatch> dispatches, const GpuFacts& facts,
                                     void* workspace) {
  Planner planner(dispatches, facts, measure(dispatches, facts).placed(), workspace);
  planner.run();
  return planner.take_launches();
}

}  // namespace krserve::kernels::cuda
