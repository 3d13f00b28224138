#include "metal/fake/dialect_uses.h"

#include <algorithm>
#include <cstring>

#include "kernels/ops/embed_rows.h"
#include "kernels/ops/gather_rows.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/paged_attention.h"
#include "kernels/ops/read_bandwidth.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/rope_kv_write.h"
#include "kernels/ops/sample.h"
#include "kernels/ops/silu_mul.h"
#include "kernels/single_source/sizes.h"
#include "kernels/tuned/metal/kernel_ids.h"

namespace krserve::fake_metal {
namespace {

using kernels::DialectParams;
using kernels::single_source::CopyBytesArgs;
using kernels::single_source::KernelId;
using kernels::single_source::MatmulRows;

constexpr uint64_t kFloat = sizeof(float);
constexpr uint32_t kWorkspace = 15;
constexpr uint32_t kLaunchValues = 80;  // byte offset in the args
// Two launches that take the workspace share its counters at least.
constexpr uint64_t kWorkspaceCounterBytes = 64;

// Collects the uses of one launch.
class Uses {
 public:
  explicit Uses(const DialectParams& params) : params_(params) {
    std::memcpy(&header_, params.buffers[0], sizeof(header_));
  }

  template <class Args>
  const Args& args() const {
    return *reinterpret_cast<const Args*>(params_.args);
  }
  template <class T>
  T launch_value(uint32_t index) const {
    T value;
    std::memcpy(&value, params_.args + kLaunchValues + index * sizeof(T), sizeof(T));
    return value;
  }
  uint64_t rows(ops::RowCount which = ops::RowCount::kRows) const {
    return which == ops::RowCount::kRows ? header_.num_rows : header_.num_samples;
  }
  template <class T>
  const T* step_array(uint32_t offset) const {
    return reinterpret_cast<const T*>(static_cast<const std::byte*>(params_.buffers[0]) + offset);
  }

  void reads(uint32_t buffer, uint64_t bytes, uint64_t begin = 0) {
    add({buffer, begin, bytes, false});
  }
  void writes(uint32_t buffer, uint64_t bytes, uint64_t begin = 0) {
    add({buffer, begin, bytes, true});
  }
  void header() { reads(0, sizeof(header_)); }
  void step(const ops::StepLayout& layout) {
    reads(0, ops::biases_offset(layout, header_.num_pages) +
                 header_.num_biases * sizeof(ops::LogitBias));
  }
  void weight(const ops::WeightArgs& weight, uint32_t first);
  void workspace() {
    if (params_.buffers[kWorkspace]) writes(kWorkspace, kWorkspaceCounterBytes);
  }
  // A layer's part of a page.
  void page(const ops::KvLayout& kv, uint32_t first_segment, uint32_t page, bool is_write);

  std::vector<DialectUse> take() { return std::move(uses_); }

 private:
  void add(DialectUse use) {
    if (use.bytes > 0) uses_.push_back(use);
  }

  const DialectParams& params_;
  ops::StepHeader header_{};
  std::vector<DialectUse> uses_;
};

void Uses::weight(const ops::WeightArgs& weight, uint32_t first) {
  const uint64_t elements = uint64_t{weight.n} * weight.k;
  switch (weight.format) {
    case ops::WeightFormat::kF32:
      return reads(first, elements * kFloat);
    case ops::WeightFormat::kF16:
    case ops::WeightFormat::kBF16:
      return reads(first, elements * 2);
    case ops::WeightFormat::kQ4:
    case ops::WeightFormat::kQ8:
      break;
  }
  const uint64_t scales = elements / weight.group_size * bytes_of(weight.scale_type);
  reads(first, weight.format == ops::WeightFormat::kQ4 ? elements / 2 : elements);
  reads(first + 1, scales);
  reads(first + 2, scales);
}

void Uses::page(const ops::KvLayout& kv, uint32_t first_segment, uint32_t page, bool is_write) {
  const uint64_t in_segment = page & ((1U << kv.segment_shift) - 1U);
  const uint64_t layer_bytes = 2 * kv_plane_bytes(kv);
  add({first_segment + (page >> kv.segment_shift),
       in_segment * kv.page_bytes + kv.layer * layer_bytes, layer_bytes, is_write});
}

void embed_rows(Uses& uses) {
  const auto& args = uses.args<ops::EmbedRowsArgs>();
  uses.step(args.layout);
  uses.weight(args.weight, 1);
  const auto* const rows = uses.step_array<ops::StepRow>(args.layout.rows_offset);
  for (uint64_t i = 0; i < uses.rows(); ++i) {
    if (rows[i].token == ops::kTokenFromSlot) {
      uses.reads(4, sizeof(int32_t), rows[i].slot * sizeof(int32_t));
    }
  }
  uses.writes(5, uses.rows() * args.weight.k * kFloat);
}

void rms_norm(Uses& uses) {
  const auto& args = uses.args<ops::RmsNormArgs>();
  const uint64_t bytes = uses.rows(args.rows) * args.dim * kFloat;
  uses.header();
  uses.reads(1, bytes);
  uses.reads(2, args.dim * kFloat);
  uses.writes(3, bytes);
}

void matmul(Uses& uses) {
  const auto& args = uses.args<ops::MatmulArgs>();
  const uint64_t rows = uses.rows(args.rows);
  uses.header();
  uses.reads(1, rows * args.weight.k * kFloat);
  uses.weight(args.weight, 2);
  if (args.flags & ops::kMatmulBias) uses.reads(5, args.weight.n * kFloat);
  const uint64_t row_bytes = args.weight.n * kFloat;
  const auto which = uses.launch_value<MatmulRows>(1);
  if (which == MatmulRows::kAll) return uses.writes(6, rows * row_bytes);
  const auto* const flags = uses.step_array<ops::StepRow>(sizeof(ops::StepHeader));
  for (uint64_t i = 0; i < rows; ++i) {
    const bool prompt = (flags[i].flags & ops::kRowPrompt) != 0;
    uses.reads(0, sizeof(ops::StepRow), sizeof(ops::StepHeader) + i * sizeof(ops::StepRow));
    if (prompt == (which == MatmulRows::kPrompts)) uses.writes(6, row_bytes, i * row_bytes);
  }
}

void rope_kv_write(Uses& uses) {
  const auto& args = uses.args<ops::RopeKvWriteArgs>();
  const ops::KvLayout& kv = args.kv;
  const uint64_t head_bytes = kv.head_dim * kFloat;
  uses.step(args.layout);
  uses.writes(1, uses.rows() * args.heads * head_bytes);
  uses.reads(2, uses.rows() * kv.kv_heads * head_bytes);
  uses.reads(3, uses.rows() * kv.kv_heads * head_bytes);
  if (args.qk_norm) {
    uses.reads(5, head_bytes);
    uses.reads(6, head_bytes);
  }
  const auto* const rows = uses.step_array<ops::StepRow>(args.layout.rows_offset);
  const auto* const pages = uses.step_array<uint32_t>(args.layout.pages_offset);
  for (uint64_t i = 0; i < uses.rows(); ++i) {
    uses.reads(4, head_bytes, rows[i].position * head_bytes);
    uses.page(kv, 7, pages[rows[i].pages_begin + rows[i].position / kv.page_tokens], true);
  }
}

void paged_attention(Uses& uses) {
  const auto& args = uses.args<ops::PagedAttentionArgs>();
  const uint64_t bytes = uses.rows() * args.heads * args.kv.head_dim * kFloat;
  uses.step(args.layout);
  uses.reads(1, bytes);
  uses.writes(2, bytes);
  uses.workspace();
  const auto* const rows = uses.step_array<ops::StepRow>(args.layout.rows_offset);
  const auto* const pages = uses.step_array<uint32_t>(args.layout.pages_offset);
  for (uint64_t i = 0; i < uses.rows(); ++i) {
    for (uint32_t page = 0; page <= rows[i].position / args.kv.page_tokens; ++page) {
      uses.page(args.kv, 3, pages[rows[i].pages_begin + page], false);
    }
  }
}

void silu_mul(Uses& uses) {
  const auto& args = uses.args<ops::SiluMulArgs>();
  const uint64_t bytes = uses.rows(args.rows) * args.dim * kFloat;
  uses.header();
  uses.writes(1, bytes);
  uses.reads(2, bytes);
}

void gather_rows(Uses& uses) {
  const auto& args = uses.args<ops::GatherRowsArgs>();
  const uint64_t row_bytes = args.dim * kFloat;
  const uint64_t count = uses.rows(ops::RowCount::kSamples);
  uses.step(args.layout);
  const auto* const samples = uses.step_array<ops::SampleRow>(args.layout.samples_offset);
  for (uint64_t i = 0; i < count; ++i) uses.reads(1, row_bytes, samples[i].row * row_bytes);
  uses.writes(2, count * row_bytes);
}

void count_tokens(Uses& uses) {
  const auto& args = uses.args<ops::CountTokensArgs>();
  const uint64_t slot_bytes = args.vocab * sizeof(uint16_t);
  uses.step(args.layout);
  const auto* const rows = uses.step_array<ops::StepRow>(args.layout.rows_offset);
  for (uint64_t i = 0; i < uses.rows(); ++i) {
    if (rows[i].flags & ops::kRowCounts) uses.writes(1, slot_bytes, rows[i].slot * slot_bytes);
  }
}

void sample(Uses& uses) {
  const auto& args = uses.args<ops::SampleArgs>();
  const uint64_t count = uses.rows(ops::RowCount::kSamples);
  const uint64_t slot_bytes = args.vocab * sizeof(uint16_t);
  uses.step(args.layout);
  uses.writes(1, count * args.vocab * kFloat);
  uses.writes(4, count * sizeof(int32_t));
  uses.workspace();
  const auto* const samples = uses.step_array<ops::SampleRow>(args.layout.samples_offset);
  for (uint64_t i = 0; i < count; ++i) {
    uses.writes(3, sizeof(int32_t), samples[i].slot * sizeof(int32_t));
    if (samples[i].flags & ops::kSamplePenalties) {
      uses.writes(2, slot_bytes, samples[i].slot * slot_bytes);
    }
  }
}

}  // namespace

std::vector<DialectUse> dialect_uses(KernelId id, const DialectParams& params, kernels::Dim3 grid) {
  if (!params.buffers[0]) return {};
  if (id == KernelId::kReadBandwidth) {
    ops::ReadBandwidthArgs args;
    std::memcpy(&args, params.args, sizeof(args));
    return {{0, 0, args.bytes, false}, {1, 0, grid.x * kFloat, true}};
  }
  if (id == KernelId::kCopyBytes || id == KernelId::kFillBytes) {
    CopyBytesArgs args;
    std::memcpy(&args, params.args, sizeof(args));
    std::vector<DialectUse> uses = {{0, 0, args.bytes, true}};
    if (id == KernelId::kCopyBytes) uses.push_back({1, 0, args.bytes, false});
    return uses;
  }
  void (*collect)(Uses&) = nullptr;
  if (id >= KernelId::kMatmulF32Rows1 && id <= KernelId::kMatmulQ8BF16Rows8) collect = matmul;
  if (static_cast<uint32_t>(id) >= kernels::tuned_metal::kFirstPromptMatmul) collect = matmul;
  if (id >= KernelId::kAttentionF32Dim64Heads4 && id <= KernelId::kAttentionBF16Dim256Heads4) {
    collect = paged_attention;
  }
  if (id == KernelId::kEmbedRows) collect = embed_rows;
  if (id == KernelId::kRmsNorm) collect = rms_norm;
  if (id == KernelId::kRopeKvWrite) collect = rope_kv_write;
  if (id == KernelId::kSiluMul) collect = silu_mul;
  if (id == KernelId::kGatherRows) collect = gather_rows;
  if (id == KernelId::kCountTokens) collect = count_tokens;
  if (id == KernelId::kSample) collect = sample;
  if (!collect) return {};
  Uses uses(params);
  collect(uses);
  return uses.take();
}

}  // namespace krserve::fake_metal
