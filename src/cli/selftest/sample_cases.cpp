// sample: greedy with ties, penalties, biases and NaNs to the bit; draws but for rounding.
#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "cli/selftest/cases.h"
#include "kernels/ops/sample.h"

namespace krserve::selftest {
namespace {

using ops::Op;

ops::SampleRow greedy(uint32_t slot) {
  ops::SampleRow row{};
  row.row = slot;
  row.slot = slot;
  row.flags = ops::kSampleGreedy;
  row.temperature = 1;
  row.top_p = 1;
  row.repetition_penalty = 1;
  return row;
}

Case sampling(std::string name, uint32_t vocab, std::vector<ops::SampleRow> samples,
              const Floats& logits, std::vector<ops::LogitBias> biases = {}) {
  std::mt19937 random(10);
  const size_t slots = samples.size() + 1;
  StepRows step;
  step.rows.resize(samples.size());
  step.samples = std::move(samples);
  step.biases = std::move(biases);
  std::vector<uint16_t> counts(slots * vocab);
  for (uint16_t& count : counts) {
    count = static_cast<uint16_t>(random() % 4 == 0 ? random() % 3 + (random() % 2) * 0x8000 : 0);
  }
  Case one{"sample", fmt::format("{}, vocabulary {}", name, vocab), {}, {}, {}};
  one.contents = {step.content(), Content::of(logits), Content::of(counts),
                  Content::of(std::vector<int32_t>(slots, -5)),
                  Content::of(std::vector<int32_t>(slots, -6))};
  one.calls = {OpCall::of(Op::kSample, ops::SampleArgs{step.layout(), vocab}, {0, 1, 2, 3, 4})};
  return one;
}

void check_exactly(Case& one) {
  for (const int content : {2, 3, 4}) one.checks.push_back({content, Compare::kBytes, 0});
}

void greedy_case(uint32_t vocab, const CaseSink& sink) {
  std::mt19937 random(11);
  std::vector<ops::SampleRow> samples;
  for (uint32_t slot = 0; slot < 5; ++slot) {
    samples.push_back(greedy(slot));
    if (slot % 2 == 0) continue;
    samples.back().flags |= ops::kSamplePenalties;
    samples.back().repetition_penalty = 1.3F;
    samples.back().presence_penalty = 0.5F;
    samples.back().frequency_penalty = 0.25F;
  }
  Floats logits = random_floats(random, size_t{5} * vocab, 4.0F);
  for (uint32_t id = vocab / 3; id < vocab; id += vocab / 3 + 1) logits[id] = 40.0F;  // a tie
  logits[size_t{2} * vocab + vocab / 2] = std::numeric_limits<float>::quiet_NaN();
  Case one = sampling("greedy, ties, penalties, a NaN", vocab, samples, logits);
  check_exactly(one);
  sink(one);
}

void bias_case(uint32_t vocab, const CaseSink& sink) {
  std::mt19937 random(13);
  std::vector<ops::SampleRow> samples;
  std::vector<ops::LogitBias> biases;
  for (uint32_t i = 0; i < 3; ++i) {
    ops::SampleRow row = greedy(i);
    row.biases_begin = static_cast<uint32_t>(biases.size());
    for (uint32_t id = i; id < vocab; id += 1 + vocab / (20 * (i + 1))) {
      biases.push_back({id, random_floats(random, 1, 4.0F)[0]});
    }
    biases.push_back({vocab - 1 - i, i == 1 ? -100.0F : 100.0F});
    row.num_biases = static_cast<uint32_t>(biases.size()) - row.biases_begin;
    samples.push_back(row);
  }
  Case one = sampling("greedy, biases", vocab, samples,
                      random_floats(random, size_t{3} * vocab, 3.0F), biases);
  check_exactly(one);
  sink(one);
}

void drawn_case(uint32_t vocab, uint32_t count, const CaseSink& sink) {
  std::mt19937 random(12);
  std::vector<ops::SampleRow> samples;
  for (uint32_t i = 0; i < count; ++i) {
    ops::SampleRow row = greedy(i);
    row.flags = i % 8 == 7 ? uint32_t{ops::kSamplePenalties} : 0;
    row.counter = i;
    row.seed_low = 77;
    row.temperature = 0.5F + 0.1F * static_cast<float>(i % 10);
    row.top_k = i % 3 == 1 ? 20 : 0;
    row.top_p = i % 4 == 2 ? 0.8F : 1.0F;
    row.min_p = i % 5 == 3 ? 0.05F : 0.0F;
    row.repetition_penalty = 1.1F;
    samples.push_back(row);
  }
  Case one = sampling(fmt::format("{} draws, top-k, top-p, min-p", count), vocab, samples,
                      random_floats(random, size_t{count} * vocab, vocab > 1000 ? 5.0F : 2.0F));
  one.checks = {{4, Compare::kTokens, 1}};
  sink(one);
}

}  // namespace

void sample_cases(Extent extent, const CaseSink& sink) {
  const bool all = extent == Extent::kAll;
  for (const uint32_t vocab :
       all ? std::vector<uint32_t>{1, 77, 512, 32001} : std::vector<uint32_t>{77, 8193}) {
    greedy_case(vocab, sink);
  }
  bias_case(77, sink);
  drawn_case(300, all ? 48 : 16, sink);
  if (!all) return;
  bias_case(20001, sink);
  drawn_case(20001, 16, sink);
}

}  // namespace krserve::selftest
