// The ops that work row by row: embeddings, norms, activations, gathers, counts.
#include <fmt/format.h>

#include "cli/selftest/cases.h"
#include "kernels/ops/embed_rows.h"
#include "kernels/ops/gather_rows.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/sample.h"
#include "kernels/ops/silu_mul.h"

namespace krserve::selftest {
namespace {

using ops::FloatType;
using ops::Op;
using ops::RowCount;
using ops::WeightFormat;

void embeddings(const ops::WeightArgs& weight, const CaseSink& sink) {
  std::mt19937 random(5);
  StepRows step;
  for (const int32_t token : {0, 299, ops::kTokenFromSlot, 17, 300, ops::kTokenFromSlot, -7}) {
    step.rows.push_back({token, 0, static_cast<uint32_t>(step.rows.size()), 0, 0});
  }
  const RandomWeight w = random_weight(random, weight);
  Case one{"embed_rows", fmt::format("{} k {}", name_of(weight.format), weight.k), {}, {}, {}};
  one.contents = {step.content(),
                  w.data,
                  w.scales,
                  w.biases,
                  Content::of(std::vector<int32_t>{1, 2, 250, 4, 5, 7, 8}),
                  Content::of(random_floats(random, (step.rows.size() + 1) * weight.k))};
  one.calls = {
      OpCall::of(Op::kEmbedRows, ops::EmbedRowsArgs{weight, step.layout()}, {0, 1, 2, 3, 4, 5})};
  one.checks = {{5, Compare::kF32, 1e-6}};
  sink(one);
}

void norm(uint32_t dim, uint32_t rows, bool in_place, const CaseSink& sink) {
  std::mt19937 random(6);
  Case one{
      "rms_norm", fmt::format("{} of {}{}", rows, dim, in_place ? ", in place" : ""), {}, {}, {}};
  one.contents = {
      step_header(rows), Content::of(random_floats(random, size_t{rows + 1} * dim, 30.0F)),
      Content::of(random_floats(random, dim)), Content::of(Floats(size_t{rows + 1} * dim))};
  const int y = in_place ? 1 : 3;
  one.calls = {
      OpCall::of(Op::kRmsNorm, ops::RmsNormArgs{dim, 1e-6F, RowCount::kRows}, {0, 1, 2, y})};
  one.checks = {{y, Compare::kF32, 1e-6}};
  sink(one);
}

void silu(uint32_t dim, uint32_t rows, const CaseSink& sink) {
  std::mt19937 random(7);
  Case one{"silu_mul", fmt::format("{} of {}", rows, dim), {}, {}, {}};
  one.contents = {step_header(rows),
                  Content::of(random_floats(random, size_t{rows + 2} * dim, 3.0F)),
                  Content::of(random_floats(random, size_t{rows + 2} * dim))};
  one.calls = {OpCall::of(Op::kSiluMul, ops::SiluMulArgs{dim, RowCount::kRows}, {0, 1, 2})};
  one.checks = {{1, Compare::kF32, 1e-5}};
  sink(one);
}

void gather(uint32_t dim, const CaseSink& sink) {
  std::mt19937 random(8);
  StepRows step;
  step.rows.resize(9);
  for (const uint32_t row : {8U, 0U, 3U}) {
    ops::SampleRow sample{};
    sample.row = row;
    step.samples.push_back(sample);
  }
  Case one{"gather_rows", fmt::format("3 of 9, {}", dim), {}, {}, {}};
  one.contents = {step.content(), Content::of(random_floats(random, size_t{9} * dim)),
                  Content::of(random_floats(random, size_t{4} * dim))};
  one.calls = {OpCall::of(Op::kGatherRows, ops::GatherRowsArgs{step.layout(), dim}, {0, 1, 2})};
  one.checks = {{1, Compare::kBytes, 0}, {2, Compare::kBytes, 0}};
  sink(one);
}

void counts(uint32_t vocab, const CaseSink& sink) {
  std::mt19937 random(9);
  StepRows step;
  const auto row = [&](uint32_t token, uint32_t slot, uint32_t flags) {
    step.rows.push_back({static_cast<int32_t>(token), 0, slot, 0, flags});
  };
  row(5, 2, ops::kRowClearCounts | ops::kRowCountPrompt);
  row(5, 2, ops::kRowCountPrompt);
  row(6, 2, ops::kRowCountOutput);
  row(6, 2, ops::kRowCountOutput);
  row(9, 0, ops::kRowCountOutput);
  row(vocab - 1, 1, 0);
  std::vector<uint16_t> before(size_t{3} * vocab);
  for (uint16_t& count : before) count = static_cast<uint16_t>(random());
  Case one{"count_tokens", fmt::format("vocabulary {}", vocab), {}, {}, {}};
  one.contents = {step.content(), Content::of(before)};
  one.calls = {OpCall::of(Op::kCountTokens, ops::CountTokensArgs{step.layout(), vocab}, {0, 1})};
  one.checks = {{1, Compare::kBytes, 0}};
  sink(one);
}

}  // namespace

void row_cases(Extent extent, const CaseSink& sink) {
  embeddings({300, 896, WeightFormat::kQ4, FloatType::kBF16, 64}, sink);
  embeddings({300, 96, WeightFormat::kQ8, FloatType::kF16, 32}, sink);
  embeddings({300, 128, WeightFormat::kQ4, FloatType::kF32, 128}, sink);
  embeddings({300, 131, WeightFormat::kF16, FloatType::kF32, 0}, sink);
  embeddings({300, 130, WeightFormat::kBF16, FloatType::kF32, 0}, sink);
  embeddings({300, 33, WeightFormat::kF32, FloatType::kF32, 0}, sink);
  for (const uint32_t dim : {1U, 33U, 896U}) {
    for (const uint32_t rows : {1U, 7U}) norm(dim, rows, false, sink);
  }
  norm(1025, 3, true, sink);
  for (const uint32_t dim : {3U, 1024U, 2999U}) silu(dim, 3, sink);
  gather(70, sink);
  gather(257, sink);
  counts(1000, sink);
  if (extent == Extent::kQuick) return;
  norm(3584, 40, false, sink);
  silu(4864, 33, sink);
  counts(20001, sink);
}

}  // namespace krserve::selftest
