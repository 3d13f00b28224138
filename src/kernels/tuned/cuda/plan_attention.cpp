// The planner's part for rotary embedding and attention.
#include <algorithm>

#include "kernels/ops/paged_attention.h"
#include "kernels/tuned/cuda/plan.h"
#include "kernels/tuned/cuda/rope_params.h"

namespace krserve::kernels::cuda {

bool Planner::plan_rope(const GpuDispatch& d) {
  const auto& args = d.args_as<ops::RopeKvWriteArgs>();
  const void* kernel = rope_kernel_for(args.kv.head_dim);
  if (!kernel) return false;
  const uint64_t head_bytes = args.kv.head_dim * sizeof(float);
  const auto rows =
      static_cast<uint32_t>(std::min({d.bytes[1] / (std::max(args.heads, 1U) * head_bytes),
                                      d.bytes[2] / (std::max(args.kv.kv_heads, 1U) * head_bytes),
                                      d.bytes[3] / (std::max(args.kv.kv_heads, 1U) * head_bytes)}));
  if (rows == 0) return true;
  RopeParams p{};
  p.args = args;
  p.step = static_cast<const uint8_t*>(d.buffers[0]);
  p.q = static_cast<float*>(d.buffers[1]);
  p.k = static_cast<const float*>(d.buffers[2]);
  p.v = static_cast<const float*>(d.buffers[3]);
  p.table = static_cast<const float*>(d.buffers[4]);
  p.q_norm = static_cast<const float*>(d.buffers[5]);
  p.k_norm = static_cast<const float*>(d.buffers[6]);
  for (uint32_t s = 0; s < ops::kMaxKvSegments && 7 + s < ops::kMaxBuffers; ++s) {
    p.segments[s] = static_cast<uint8_t*>(d.buffers[7 + s]);
  }
  add(kernel, "rope_kv_write", {rows, ceil_div(args.heads + args.kv.kv_heads, kRopeWarps)},
      {kRopeWarps * 32}, 0, p);
  return true;
}

// Nothing but this step's own rows goes into the cache before `d`.
bool Planner::writes_of_cache_are_of_the_step(const GpuDispatch& d) const {
  return std::all_of(dispatches_.data(), &d, [&](const GpuDispatch& before) {
    return before.op != ops::Op::kRopeKvWrite || before.buffers[0] == d.buffers[0];
  });
}

bool Planner::plan_attention(const GpuDispatch& d) {
  const auto& args = d.args_as<ops::PagedAttentionArgs>();
  const ops::KvLayout& kv = args.kv;
  if (!attention_kernel_for(kv.type, kv.head_dim, true) || kv.kv_heads == 0) return false;
  AttentionParams p{};
  p.args = args;
  p.group = args.heads / kv.kv_heads;
  const uint32_t warps = p.group * run_subtiles(std::max(1U, p.group));
  const uint64_t row_bytes = uint64_t{args.heads} * kv.head_dim * sizeof(float);
  const auto rows = static_cast<uint32_t>(std::min(d.bytes[1], d.bytes[2]) / row_bytes);
  const uint32_t run_shared = attention_shared_bytes(kv.head_dim, warps, false);
  const uint32_t decode_shared = attention_shared_bytes(kv.head_dim, kDecodeWarps, true);
  if (p.group == 0 || p.group > kMaxGroup || rows == 0 ||
      std::max(run_shared, decode_shared) + 64 > facts_.max_shared_bytes ||
      rows * kv.kv_heads > kAttentionArrivals || !aligned(d.buffers[1], 8) ||
      !aligned(d.buffers[2], 16) || kv.page_bytes % 16 != 0) {
    return false;
  }
  p.step = static_cast<const uint8_t*>(d.buffers[0]);
  p.q = static_cast<const float*>(d.buffers[1]);
  p.out = static_cast<float*>(d.buffers[2]);
  uint64_t cache_bytes = 0;
  for (uint32_t s = 0; s < ops::kMaxKvSegments && 3 + s < ops::kMaxBuffers; ++s) {
    p.segments[s] = static_cast<const uint8_t*>(d.buffers[3 + s]);
    if (!aligned(p.segments[s], 16)) return false;
    cache_bytes += d.bytes[3 + s];
  }
  // Splits of all single rows together: what the page list can name, or what the cache can hold.
  const uint64_t listed =
      (d.bytes[0] - std::min<uint64_t>(d.bytes[0], args.layout.pages_offset)) / 4;
  const uint64_t pages = std::min(listed, cache_bytes / kv.page_bytes);
  p.early_keys = writes_of_cache_are_of_the_step(d);
  p.row_capacity = rows;
  p.split_capacity = rows + static_cast<uint32_t>(pages * kv.page_tokens / kSplit) + 1;
  const uint64_t partial = uint64_t{partial_floats(p.group, kv.head_dim)} * sizeof(float);
  p.partials = region<float>(layout_.partials, p.split_capacity * kv.kv_heads * partial);
  p.arrivals = arrivals(kTiledArrivals);
  const uint32_t most = ceil_div(uint64_t{p.split_capacity}, kDecodeWarps);
  const uint32_t wanted = 2 * facts_.multiprocessors / (rows * kv.kv_heads);
  const Dim3 decode{rows, kv.kv_heads, std::clamp(wanted, 1U, std::min(most, 64U))};
  add(attention_kernel_for(kv.type, kv.head_dim, true), "attention_decode", decode,
      {kDecodeWarps * 32}, decode_shared, p);
  if (rows == 1) return true;
  const Dim3 runs{ceil_div(rows, run_subtiles(p.group) * 16), kv.kv_heads};
  add(attention_kernel_for(kv.type, kv.head_dim, false), "attention_runs", runs, {warps * 32},
      run_shared, p);
  return true;
}

}  // namespace krserve::kernels::cuda
