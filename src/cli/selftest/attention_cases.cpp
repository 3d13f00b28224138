// rope_kv_write and paged_attention over a paged cache: decode rows, prompts, and both mixed.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cli/selftest/cases.h"
#include "kernels/ops/paged_attention.h"
#include "kernels/ops/rope_kv_write.h"

namespace krserve::selftest {
namespace {

using ops::FloatType;
using ops::Op;

struct Sequence {
  uint32_t first;  // position of its first row in the step
  uint32_t rows;
};

struct Shape {
  uint32_t heads, kv_heads, head_dim;
  FloatType type;
  bool qk_norm;
};

constexpr uint32_t kPageTokens = 16, kShift = 4, kSegments = 2;  // 512 tokens
constexpr uint32_t kPositions = kPageTokens * (kSegments << kShift);

enum : int { kParams, kQ, kK, kV, kTable, kQNorm, kKNorm, kOut, kSegment0, kSegment1 };

// Pages of a sequence are scattered; the lists stand in the reverse order of the rows.
StepRows step_of(const std::vector<Sequence>& sequences) {
  StepRows step;
  std::vector<uint32_t> begins(sequences.size());
  uint32_t next = 0;
  for (size_t i = sequences.size(); i-- > 0;) {
    begins[i] = static_cast<uint32_t>(step.pages.size());
    const uint32_t count = (sequences[i].first + sequences[i].rows - 1) / kPageTokens + 1;
    for (uint32_t p = 0; p < count; ++p) {
      step.pages.push_back(next++ * 13 % (kSegments << kShift));
    }
  }
  for (uint32_t i = 0; i < sequences.size(); ++i) {
    for (uint32_t r = 0; r < sequences[i].rows; ++r) {
      step.rows.push_back({0, sequences[i].first + r, i, begins[i], 0});
    }
  }
  return step;
}

Floats rotary_table(uint32_t head_dim) {
  Floats table(size_t{kPositions} * head_dim);
  const uint32_t half = head_dim / 2;
  for (uint32_t i = 0; i < half; ++i) {
    const double frequency = std::pow(10000.0, -2.0 * i / head_dim);
    for (uint32_t p = 0; p < kPositions; ++p) {
      table[size_t{p} * head_dim + i] = static_cast<float>(std::cos(p * frequency));
      table[size_t{p} * head_dim + half + i] = static_cast<float>(std::sin(p * frequency));
    }
  }
  return table;
}

Compare compare_of(FloatType type) {
  if (type == FloatType::kF32) return Compare::kF32;
  return type == FloatType::kF16 ? Compare::kF16 : Compare::kBF16;
}

std::vector<Content> contents_of(const Shape& shape, const StepRows& step, uint64_t segment_bytes) {
  std::mt19937 random(3);
  const auto floats = [&](size_t count) { return Content::of(random_floats(random, count)); };
  const size_t rows = step.rows.size() + 1;  // one that the step leaves alone
  const size_t q_width = size_t{shape.heads} * shape.head_dim;
  const size_t kv_width = size_t{shape.kv_heads} * shape.head_dim;
  std::vector<Content> out = {step.content(),
                              floats(rows * q_width),
                              floats(rows * kv_width),
                              floats(rows * kv_width),
                              Content::of(rotary_table(shape.head_dim)),
                              floats(shape.head_dim),
                              floats(shape.head_dim),
                              floats(rows * q_width)};
  for (uint32_t s = 0; s < kSegments; ++s) {
    out.push_back(
        {to_type(random_floats(random, segment_bytes / ops::bytes_of(shape.type)), shape.type)});
  }
  return out;
}

void step_case(const Shape& shape, const std::vector<Sequence>& sequences, const CaseSink& sink) {
  const StepRows step = step_of(sequences);
  ops::KvLayout kv{0, kPageTokens, kShift, shape.kv_heads, shape.head_dim, shape.type, 1};
  kv.page_bytes = uint64_t{2} * 2 * ops::kv_plane_bytes(kv);  // two layers
  std::string rows;
  for (const Sequence& s : sequences) rows += fmt::format(" {}+{}", s.first, s.rows);
  Case one{"attention",
           fmt::format("{}/{} heads of {}, {}{}, rows{}", shape.heads, shape.kv_heads,
                       shape.head_dim, name_of(shape.type), shape.qk_norm ? ", norms" : "", rows),
           {},
           contents_of(shape, step, kv.page_bytes << kShift),
           {}};
  const int q_norm = shape.qk_norm ? int{kQNorm} : -1, k_norm = shape.qk_norm ? int{kKNorm} : -1;
  one.calls = {
      OpCall::of(Op::kRopeKvWrite,
                 ops::RopeKvWriteArgs{kv, step.layout(), shape.heads, shape.qk_norm, 1e-6F},
                 {kParams, kQ, kK, kV, kTable, q_norm, k_norm, kSegment0, kSegment1}),
      OpCall::of(Op::kPagedAttention,
                 ops::PagedAttentionArgs{kv, step.layout(), shape.heads,
                                         1.0F / std::sqrt(static_cast<float>(shape.head_dim))},
                 {kParams, kQ, kOut, kSegment0, kSegment1})};
  // A value of the cache may be rounded the other way; what is wrong is much further off.
  const double cache_bound = shape.type == FloatType::kF32 ? 1e-5 : 1e-3;
  one.checks = {{kQ, Compare::kF32, 1e-5},
                {kOut, Compare::kF32, shape.type == FloatType::kBF16 ? 4e-3 : 1e-3},
                {kSegment0, compare_of(shape.type), cache_bound},
                {kSegment1, compare_of(shape.type), cache_bound}};
  sink(one);
}

const Shape kShapes[] = {
    {14, 2, 64, FloatType::kF16, false}, {4, 4, 64, FloatType::kBF16, false},
    {2, 1, 64, FloatType::kF32, false},  {6, 2, 128, FloatType::kBF16, true},
    {7, 1, 128, FloatType::kF16, false}, {4, 2, 32, FloatType::kF16, true},
    {12, 1, 64, FloatType::kF16, false}, {4, 2, 256, FloatType::kF16, false},
};

}  // namespace

void attention_cases(Extent extent, const CaseSink& sink) {
  for (const Shape& shape : kShapes) {
    step_case(shape, {{200, 1}}, sink);
    step_case(shape, {{3, 1}, {0, 9}, {70, 1}}, sink);
    if (extent == Extent::kQuick) continue;
    for (const uint32_t position : {0U, 1U, 63U, 64U, 127U, 128U, 511U}) {
      step_case(shape, {{position, 1}}, sink);
    }
    step_case(shape, {{5, 1}, {64, 1}, {0, 1}, {127, 1}, {63, 1}, {17, 1}, {31, 1}, {2, 1}}, sink);
    step_case(shape, {{0, 2}}, sink);
    step_case(shape, {{0, 50}}, sink);
    step_case(shape, {{300, 21}, {9, 1}, {100, 12}}, sink);
  }
}

}  // namespace krserve::selftest
