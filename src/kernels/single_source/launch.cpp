#include "kernels/single_source/launch.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <string>

#include "kernels/ops/embed_rows.h"
#include "kernels/ops/gather_rows.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/paged_attention.h"
#include "kernels/ops/read_bandwidth.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/rope_kv_write.h"
#include "kernels/ops/sample.h"
#include "kernels/ops/silu_mul.h"

namespace krserve::kernels::single_source {

namespace {

constexpr uint32_t kLanes = 32;
// As in dialect.h, which is not for the host.
constexpr uint32_t kWorkspaceBuffer = 15;
constexpr uint32_t kLaunchValuesOffset = 80;

uint32_t ceil_div(uint64_t a, uint64_t b) {
  return static_cast<uint32_t>((a + b - 1) / b);
}

uint32_t row_capacity(const ops::StepLayout& layout) {
  return (layout.samples_offset - layout.rows_offset) / static_cast<uint32_t>(sizeof(ops::StepRow));
}
uint32_t sample_capacity(const ops::StepLayout& layout) {
  return (layout.pages_offset - layout.samples_offset) /
         static_cast<uint32_t>(sizeof(ops::SampleRow));
}
// Rows of `dim` floats that a buffer has room for.
uint32_t row_capacity(const GpuDispatch& dispatch, uint32_t buffer, uint32_t dim) {
  return static_cast<uint32_t>(dispatch.bytes[buffer] / (uint64_t{dim} * sizeof(float)));
}

// What is to be launched, before it is bytes.
struct Plan {
  KernelId kernel = KernelId::kKernelCount;
  Dim3 grid;
  uint32_t threads = kRowThreads;
  uint64_t workspace_bytes = 0;
  uint32_t launch_value = 0;  // the kernel's kr_launch_value(params, 0)
};

KernelId nth(KernelId first, uint32_t index) {
  return static_cast<KernelId>(static_cast<uint32_t>(first) + index);
}

// log2 of the group size; 0 for floats, which have none.
uint32_t group_shift(const ops::WeightArgs& weight) {
  if (weight.format != ops::WeightFormat::kQ4 && weight.format != ops::WeightFormat::kQ8) return 0;
  for (uint32_t shift = 5; shift <= 7; ++shift) {
    if (weight.group_size == 1u << shift) return shift;
  }
  throw UnsupportedDispatch("[single_source.launch] weights in groups of " +
                            std::to_string(weight.group_size) + "; 32, 64 and 128 are supported");
}

Plan plan_embed_rows(const ops::EmbedRowsArgs& args) {
  return {
      KernelId::kEmbedRows, {row_capacity(args.layout)}, kRowThreads, 0, group_shift(args.weight)};
}

Plan plan_rms_norm(const GpuDispatch& dispatch) {
  const auto& args = dispatch.args_as<ops::RmsNormArgs>();
  return {KernelId::kRmsNorm, {row_capacity(dispatch, 1, args.dim)}};
}

Plan plan_silu_mul(const GpuDispatch& dispatch) {
  const auto& args = dispatch.args_as<ops::SiluMulArgs>();
  return {KernelId::kSiluMul,
          {row_capacity(dispatch, 1, args.dim), ceil_div(args.dim, kSiluPiece)}};
}

Plan plan_matmul(const GpuDispatch& dispatch) {
  const auto& args = dispatch.args_as<ops::MatmulArgs>();
  const ops::WeightArgs& weight = args.weight;
  const uint32_t rows = row_capacity(dispatch, 1, weight.k);
  const KernelId first = rows <= 1 ? KernelId::kMatmulF32Rows1 : KernelId::kMatmulF32Rows8;
  const uint32_t tile = rows <= 1 ? 1 : kMatmulRows;
  const uint32_t outputs = kMatmulSimds * (rows <= 1 ? kMatmulOutputsOfOneRow : kMatmulOutputs);
  return {nth(first, matmul_format(weight)),
          {ceil_div(rows, tile), ceil_div(weight.n, outputs)},
          kMatmulSimds * kLanes,
          0,
          group_shift(weight)};
}

void check_head_dim(uint32_t head_dim) {
  if (head_dim <= kMaxHeadDim && head_dim % 2 == 0) return;
  throw UnsupportedDispatch("[single_source.launch] heads of " + std::to_string(head_dim) +
                            " dimensions; even numbers up to " + std::to_string(kMaxHeadDim) +
                            " are supported");
}

Plan plan_rope_kv_write(const ops::RopeKvWriteArgs& args) {
  check_head_dim(args.kv.head_dim);
  return {KernelId::kRopeKvWrite,
          {row_capacity(args.layout), ceil_div(args.heads + args.kv.kv_heads, kRopeSimds)},
          kRopeSimds * kLanes};
}

Plan plan_paged_attention(const ops::PagedAttentionArgs& args, DialectLimits limits) {
  check_head_dim(args.kv.head_dim);
  const uint32_t dim = args.kv.head_dim, group = args.heads / args.kv.kv_heads;
  const uint32_t heads = group <= 4 || dim > 128 ? 4 : 8;  // of a threadgroup
  const uint32_t shape = dim > 128 ? 4 : (dim > 64 ? 2 : 0) + (heads == 8 ? 1 : 0);
  const KernelId first = args.kv.type == ops::FloatType::kF32 ? KernelId::kAttentionF32Dim64Heads4
                         : args.kv.type == ops::FloatType::kF16
                             ? KernelId::kAttentionF16Dim64Heads4
                             : KernelId::kAttentionBF16Dim64Heads4;
  const uint32_t rows = row_capacity(args.layout);
  const uint32_t groups = args.kv.kv_heads * ceil_div(group, heads);
  const uint32_t lines = std::max(rows * groups, 1u);
  const uint32_t parts =
      limits.hand_over ? std::clamp(kAttentionGroups / lines, 1u, kAttentionChunks) : 1;
  const uint64_t partials =
      uint64_t{lines} * kAttentionChunks * attention_partial_floats(heads, dim) * sizeof(float);
  return {nth(first, shape),
          {rows, groups, parts},
          kAttentionSimds * kLanes,
          parts > 1 ? kWorkspaceDataOffset + partials : 0};
}

Plan plan_sample(const ops::SampleArgs& args, DialectLimits limits) {
  if (args.vocab > kSampleMaxVocab) {
    throw UnsupportedDispatch("[single_source.launch] a vocabulary of " +
                              std::to_string(args.vocab) + " tokens; at most " +
                              std::to_string(kSampleMaxVocab) + " are supported");
  }
  const uint32_t samples = sample_capacity(args.layout);
  // Each sample with several slices has a counter.
  const bool several = limits.hand_over && samples <= kWorkspaceCounters;
  const uint32_t slices = several ? ceil_div(args.vocab, kSampleSlice) : 1;
  return {
      KernelId::kSample,
      {samples, slices},
      kSampleThreads,
      slices > 1 ? kWorkspaceDataOffset + uint64_t{samples} * slices * 2 * sizeof(uint32_t) : 0};
}

Plan plan_of(const GpuDispatch& dispatch, DialectLimits limits) {
  switch (dispatch.op) {
    case ops::Op::kEmbedRows:
      return plan_embed_rows(dispatch.args_as<ops::EmbedRowsArgs>());
    case ops::Op::kRmsNorm:
      return plan_rms_norm(dispatch);
    case ops::Op::kMatmul:
      return plan_matmul(dispatch);
    case ops::Op::kRopeKvWrite:
      return plan_rope_kv_write(dispatch.args_as<ops::RopeKvWriteArgs>());
    case ops::Op::kPagedAttention:
      return plan_paged_attention(dispatch.args_as<ops::PagedAttentionArgs>(), limits);
    case ops::Op::kSiluMul:
      return plan_silu_mul(dispatch);
    case ops::Op::kGatherRows:
      return {KernelId::kGatherRows,
              {sample_capacity(dispatch.args_as<ops::GatherRowsArgs>().layout)}};
    case ops::Op::kCountTokens:
      return {KernelId::kCountTokens,
              {row_capacity(dispatch.args_as<ops::CountTokensArgs>().layout)}};
    case ops::Op::kSample:
      return plan_sample(dispatch.args_as<ops::SampleArgs>(), limits);
    case ops::Op::kReadBandwidth: {
      const auto& args = dispatch.args_as<ops::ReadBandwidthArgs>();
      return {KernelId::kReadBandwidth, {ceil_div(args.bytes, args.chunk_bytes)}};
    }
    case ops::Op::kOpCount:
      break;
  }
  throw UnsupportedDispatch("[single_source.launch] not an op: " +
                            std::to_string(static_cast<uint32_t>(dispatch.op)));
}

}  // namespace

bool splits_prompts(const ops::MatmulArgs& args) {
  return args.rows == ops::RowCount::kRows && (args.flags & ops::kMatmulPrompts) != 0;
}

uint32_t matmul_format(const ops::WeightArgs& weight) {
  const auto format = static_cast<uint32_t>(weight.format);
  return format < 3 ? format : 3 + (format - 3) * 3 + static_cast<uint32_t>(weight.scale_type);
}

void set_matmul_rows(GpuLaunch& launch, MatmulRows rows) {
  std::memcpy(launch.params + kLaunchValuesOffset + sizeof(uint32_t), &rows, sizeof(rows));
}

uint64_t dialect_workspace_bytes(const GpuDispatch& dispatch, DialectLimits limits) {
  return plan_of(dispatch, limits).workspace_bytes;
}

GpuLaunch dialect_launch(const GpuDispatch& dispatch, void* workspace, KernelHandle handle,
                         DialectLimits limits) {
  const Plan plan = plan_of(dispatch, limits);
  DialectParams params;
  std::memcpy(params.args, dispatch.args, sizeof(params.args));
  std::memcpy(params.args + kLaunchValuesOffset, &plan.launch_value, sizeof(plan.launch_value));
  std::copy(std::begin(dispatch.buffers), std::end(dispatch.buffers), params.buffers);
  if (plan.workspace_bytes > 0) params.buffers[kWorkspaceBuffer] = workspace;

  GpuLaunch launch;
  launch.kernel = handle(plan.kernel);
  launch.name = ops::op_name(dispatch.op);
  // A back end takes no grid of nothing; the kernels then find no rows.
  launch.grid = {std::max(plan.grid.x, 1u), std::max(plan.grid.y, 1u), std::max(plan.grid.z, 1u)};
  launch.block.x = plan.threads;
  launch.params_bytes = sizeof(params);
  std::memcpy(launch.params, &params, sizeof(params));
  if (limits.prompt_matmul && dispatch.op == ops::Op::kMatmul &&
      splits_prompts(dispatch.args_as<ops::MatmulArgs>())) {
    set_matmul_rows(launch, MatmulRows::kOthers);
  }
  return launch;
}

}  // namespace krserve::kernels::single_source
