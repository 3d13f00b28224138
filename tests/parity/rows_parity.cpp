// The ops that are not matrix products, beside the reference.
#include <cmath>

#include "kernels/ops/embed_rows.h"
#include "kernels/ops/gather_rows.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/sample.h"
#include "parity/reference.h"

namespace krserve::parity {
namespace {

using ops::FloatType;
using ops::Op;
using ops::WeightFormat;

struct StepRows {
  std::vector<ops::StepRow> rows;
  std::vector<ops::SampleRow> samples;
  std::vector<ops::LogitBias> biases;  // behind an empty page list

  ops::StepLayout layout() const {
    return ops::step_layout(static_cast<uint32_t>(rows.size()) + 2,
                            static_cast<uint32_t>(samples.size()) + 3);
  }
  Content content() const {
    const size_t biases_at = ops::biases_offset(layout(), 0);
    Content out{Bytes(biases_at + biases.size() * sizeof(ops::LogitBias) + 16)};
    const ops::StepHeader header{static_cast<uint32_t>(rows.size()),
                                 static_cast<uint32_t>(samples.size()), 0,
                                 static_cast<uint32_t>(biases.size())};
    std::memcpy(out.bytes.data(), &header, sizeof(header));
    if (!rows.empty()) {
      std::memcpy(out.bytes.data() + layout().rows_offset, rows.data(),
                  rows.size() * sizeof(ops::StepRow));
    }
    if (!samples.empty()) {
      std::memcpy(out.bytes.data() + layout().samples_offset, samples.data(),
                  samples.size() * sizeof(ops::SampleRow));
    }
    if (!biases.empty()) {
      std::memcpy(out.bytes.data() + biases_at, biases.data(),
                  biases.size() * sizeof(ops::LogitBias));
    }
    return out;
  }
};

ops::SampleRow greedy(uint32_t slot) {
  ops::SampleRow row{};
  row.slot = slot;
  row.flags = ops::kSampleGreedy;
  row.temperature = 1;
  row.top_p = 1;
  row.repetition_penalty = 1;
  return row;
}

TEST_P(Parity, EmbeddingsOfExplicitAndSampledTokensAreNearTheReference) {
  std::mt19937 random(5);
  for (const ops::WeightArgs& args :
       {ops::WeightArgs{300, 896, WeightFormat::kQ4, FloatType::kBF16, 64},
        ops::WeightArgs{300, 96, WeightFormat::kQ8, FloatType::kF16, 32},
        ops::WeightArgs{300, 130, WeightFormat::kBF16, FloatType::kF32, 0},
        ops::WeightArgs{300, 33, WeightFormat::kF32, FloatType::kF32, 0}}) {
    StepRows step;
    for (const int32_t token : {0, 299, ops::kTokenFromSlot, 17, 300, ops::kTokenFromSlot, -7}) {
      step.rows.push_back({token, 0, static_cast<uint32_t>(step.rows.size()), 0, 0});
    }
    const RandomWeight w = random_weight(random, args);
    const std::vector<Content> contents = {
        step.content(),
        w.data,
        w.scales,
        w.biases,
        Content::of(std::vector<int32_t>{1, 2, 250, 4, 5, 7, 8}),
        Content::of(random_floats(random, (step.rows.size() + 1) * args.k))};
    const OpCall call =
        OpCall::of(Op::kEmbedRows, ops::EmbedRowsArgs{args, step.layout()}, {0, 1, 2, 3, 4, 5});
    EXPECT_LT(relative_error(run_calls(*device_, {call}, contents)[5].as<float>(),
                             run_reference({call}, contents)[5].as<float>()),
              1e-6);
  }
}

TEST_P(Parity, NormsOfManyRowsAreNearTheReference) {
  std::mt19937 random(6);
  for (const uint32_t dim : {1U, 33U, 896U, 3584U}) {
    for (const uint32_t rows : {1U, 7U, 300U}) {
      StepRows step;
      step.rows.resize(rows);
      const std::vector<Content> contents = {
          step.content(), Content::of(random_floats(random, size_t{rows} * dim, 30.0f)),
          Content::of(random_floats(random, dim)), Content::of(Floats(size_t{rows} * dim))};
      const OpCall call = OpCall::of(
          Op::kRmsNorm, ops::RmsNormArgs{dim, 1e-6f, ops::RowCount::kRows}, {0, 1, 2, 3});
      EXPECT_LT(relative_error(run_calls(*device_, {call}, contents)[3].as<float>(),
                               run_reference({call}, contents)[3].as<float>()),
                1e-6);
    }
  }
}

TEST_P(Parity, GatheredRowsAreTheSampledOnes) {
  std::mt19937 random(8);
  StepRows step;
  step.rows.resize(9);
  for (const uint32_t row : {8U, 0U, 3U}) {
    step.samples.push_back(greedy(0));
    step.samples.back().row = row;
  }
  const std::vector<Content> contents = {step.content(), Content::of(random_floats(random, 9 * 70)),
                                         Content::of(random_floats(random, 4 * 70))};
  const OpCall call =
      OpCall::of(Op::kGatherRows, ops::GatherRowsArgs{step.layout(), 70}, {0, 1, 2});
  EXPECT_EQ(run_calls(*device_, {call}, contents)[2].as<float>(),
            run_reference({call}, contents)[2].as<float>());
}

TEST_P(Parity, TokensAreCountedAsInTheReference) {
  std::mt19937 random(9);
  constexpr uint32_t kVocab = 1000;
  StepRows step;
  const auto row = [&](int32_t token, uint32_t slot, uint32_t flags) {
    step.rows.push_back({token, 0, slot, 0, flags});
  };
  row(5, 2, ops::kRowClearCounts | ops::kRowCountPrompt);
  row(5, 2, ops::kRowCountPrompt);
  row(6, 2, ops::kRowCountOutput);
  row(6, 2, ops::kRowCountOutput);
  row(9, 0, ops::kRowCountOutput);
  row(999, 1, 0);
  std::vector<uint16_t> counts(3 * kVocab);
  for (uint16_t& count : counts) count = static_cast<uint16_t>(random());
  const std::vector<Content> contents = {step.content(), Content::of(counts)};
  const OpCall call =
      OpCall::of(Op::kCountTokens, ops::CountTokensArgs{step.layout(), kVocab}, {0, 1});
  EXPECT_EQ(run_calls(*device_, {call}, contents)[1].as<uint16_t>(),
            run_reference({call}, contents)[1].as<uint16_t>());
}

struct Sampling {
  StepRows step;
  std::vector<Content> contents;
  OpCall call;

  Sampling(uint32_t vocab, std::vector<ops::SampleRow> samples, const Floats& logits,
           std::vector<ops::LogitBias> biases = {}) {
    std::mt19937 random(10);
    const size_t slots = samples.size() + 1;
    step.samples = std::move(samples);
    step.biases = std::move(biases);
    std::vector<uint16_t> counts(slots * vocab);
    for (uint16_t& count : counts) {
      count = static_cast<uint16_t>(random() % 4 == 0 ? random() % 3 + (random() % 2) * 0x8000 : 0);
    }
    contents = {step.content(), Content::of(logits), Content::of(counts),
                Content::of(std::vector<int32_t>(slots, -5)),
                Content::of(std::vector<int32_t>(slots, -6))};
    call = OpCall::of(Op::kSample, ops::SampleArgs{step.layout(), vocab}, {0, 1, 2, 3, 4});
  }
};

TEST_P(Parity, GreedyTokensWithAndWithoutPenaltiesAreTheReferences) {
  std::mt19937 random(11);
  for (const uint32_t vocab : {1U, 77U, 512U, 151936U}) {
    std::vector<ops::SampleRow> samples;
    for (uint32_t slot = 0; slot < 5; ++slot) {
      samples.push_back(greedy(slot));
      if (slot % 2 == 0) continue;
      samples.back().flags |= ops::kSamplePenalties;
      samples.back().repetition_penalty = 1.3f;
      samples.back().presence_penalty = 0.5f;
      samples.back().frequency_penalty = 0.25f;
    }
    Floats logits = random_floats(random, size_t{5} * vocab, 4.0f);
    for (uint32_t id = vocab / 3; id < vocab; id += vocab / 3 + 1) logits[id] = 40.0f;  // a tie
    logits[size_t{2} * vocab + vocab / 2] = std::nanf("");
    const Sampling sampling(vocab, samples, logits);
    const auto result = run_calls(*device_, {sampling.call}, sampling.contents);
    const auto expected = run_reference({sampling.call}, sampling.contents);
    for (const size_t i : {size_t{2}, size_t{3}, size_t{4}}) {
      EXPECT_EQ(result[i].bytes, expected[i].bytes) << "buffer " << i << ", vocabulary " << vocab;
    }
  }
}

// To the bit, whatever the device: what is drawn from is the same.
TEST_P(Parity, BiasedTokensAreThoseOfLogitsThatHaveTheBiasAlready) {
  std::mt19937 random(13);
  for (const uint32_t vocab : {77U, 20001U, 151936U}) {
    constexpr uint32_t kRows = 6;
    const Floats logits = random_floats(random, size_t{kRows} * vocab, 3.0f);
    Floats sums = logits;
    std::vector<ops::SampleRow> plain, biased;
    std::vector<ops::LogitBias> biases;
    for (uint32_t i = 0; i < kRows; ++i) {
      ops::SampleRow row = greedy(i);
      if (i % 2 == 1) row.flags = 0;
      if (i % 3 == 1) row.flags |= ops::kSamplePenalties;
      row.seed_low = row.counter = i;
      row.top_p = i == 3 ? 0.9f : 1.0f;
      row.top_k = i == 5 ? 40 : 0;
      row.repetition_penalty = 1.2f;
      plain.push_back(row);
      row.biases_begin = static_cast<uint32_t>(biases.size());
      const uint32_t stride = 1 + vocab / (200 * i + 1);
      for (uint32_t id = i; i != 2 && id < vocab; id += stride) {
        biases.push_back({id, random_floats(random, 1, 4.0f)[0]});
        sums[size_t{i} * vocab + id] += biases.back().bias;
      }
      row.num_biases = static_cast<uint32_t>(biases.size()) - row.biases_begin;
      biased.push_back(row);
    }
    biases[0].bias = 100.0f;  // of row 0, token 0
    sums[0] = logits[0] + 100.0f;
    const Sampling sampling(vocab, biased, logits, biases);
    const Sampling added(vocab, plain, sums);
    const auto result = run_calls(*device_, {sampling.call}, sampling.contents);
    const auto expected = run_calls(*device_, {added.call}, added.contents);
    EXPECT_EQ(result[4].as<int32_t>()[0], 0);
    for (const size_t i : {size_t{2}, size_t{3}, size_t{4}}) {
      EXPECT_EQ(result[i].bytes, expected[i].bytes) << "buffer " << i << ", vocabulary " << vocab;
    }
    // Greedy rows do not depend on the device either.
    const auto reference = run_reference({sampling.call}, sampling.contents)[4].as<int32_t>();
    for (const size_t row : {size_t{0}, size_t{2}, size_t{4}}) {
      EXPECT_EQ(result[4].as<int32_t>()[row], reference[row]) << "row " << row;
    }
  }
}

// Back ends add probabilities in different orders: a draw may differ where it hits a boundary.
TEST_P(Parity, DrawnTokensAreTheReferencesButForRounding) {
  std::mt19937 random(12);
  for (const uint32_t vocab : {300U, 151936U}) {
    std::vector<ops::SampleRow> samples;
    for (uint32_t i = 0; i < (vocab > 1000 ? 16U : 48U); ++i) {
      ops::SampleRow row = greedy(i);
      row.flags = i % 8 == 7 ? uint32_t{ops::kSamplePenalties} : 0;
      row.counter = i;
      row.seed_low = 77;
      row.temperature = 0.5f + 0.1f * static_cast<float>(i % 10);
      row.top_k = i % 3 == 1 ? 20 : 0;
      row.top_p = i % 4 == 2 ? 0.8f : 1.0f;
      row.min_p = i % 5 == 3 ? 0.05f : 0.0f;
      row.repetition_penalty = 1.1f;
      samples.push_back(row);
    }
    const Sampling sampling(
        vocab, samples, random_floats(random, samples.size() * vocab, vocab > 1000 ? 6.0f : 2.0f));
    const auto result = run_calls(*device_, {sampling.call}, sampling.contents)[4].as<int32_t>();
    const auto expected = run_reference({sampling.call}, sampling.contents)[4].as<int32_t>();
    int different = 0;
    for (size_t i = 0; i < samples.size(); ++i) different += result[i] != expected[i];
    EXPECT_LE(different, 1) << "of " << samples.size() << ", vocabulary " << vocab;
  }
}

}  // namespace
}  // namespace krserve::parity
