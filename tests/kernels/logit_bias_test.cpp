// Logit bias in the sample op: added first, to its own row alone, by whichever thread.
#include <algorithm>
#include <numeric>

#include "kernels/sampling.h"

namespace krserve::kernels {
namespace {

using ops::LogitBias;
using ops::SampleRow;

class LogitBiasTest : public SamplingTest {};

// Appends a row's biases to the list.
void set_biases(SampleRow& row, std::vector<LogitBias>& list,
                const std::vector<LogitBias>& biases) {
  row.biases_begin = static_cast<uint32_t>(list.size());
  row.num_biases = static_cast<uint32_t>(biases.size());
  list.insert(list.end(), biases.begin(), biases.end());
}

TEST_P(LogitBiasTest, BiasIsAddedBeforePenalties) {
  const uint32_t vocab = 50;
  SampleRow row = greedy_row(1);
  row.flags |= ops::kSamplePenalties;
  row.repetition_penalty = 2;
  std::vector<LogitBias> biases;
  set_biases(row, biases, {{49, -3.5f}, {20, 3.0f}});
  std::vector<uint16_t> counts(4 * vocab, 0);
  counts[vocab + 20] = counts[vocab + 49] = ops::kCountPromptBit;
  std::vector<float> logits(vocab, -9.0f);
  const auto winner_against = [&](float rival) {
    logits[30] = rival;
    return sample(logits, vocab, {row}, counts, 1, biases).sampled[0];
  };
  logits[20] = 1.0f;                    // (1 + 3) / 2 = 2
  EXPECT_EQ(winner_against(2.0f), 20);  // equal: the lower id
  EXPECT_EQ(winner_against(2.0000002f), 30);
  logits[20] = -50.0f;
  logits[49] = 3.0f;  // (3 - 3.5) * 2 = -1
  EXPECT_EQ(winner_against(-1.0f), 30);
  EXPECT_EQ(winner_against(-1.0000001f), 49);
}

TEST_P(LogitBiasTest, BiasForcesAndBansTokensInEverySlice) {
  const uint32_t vocab = 20001;  // three threadgroups a row on a GPU, 6667 tokens each
  std::vector<float> one = normals(vocab);
  one[11111] = 20.0f;
  std::vector<float> logits;
  for (int i = 0; i < 4; ++i) logits.insert(logits.end(), one.begin(), one.end());
  const int32_t alone = sample(one, vocab, {random_row(5)}).sampled[0];
  for (const uint32_t token : {0u, 6666u, 6667u, 13333u, 13334u, 20000u}) {
    std::vector<LogitBias> biases;
    std::vector<SampleRow> rows = {greedy_row(0), random_row(5), greedy_row(1), random_row(5)};
    set_biases(rows[0], biases, {{token, 100.0f}});
    set_biases(rows[2], biases, {{token, 15.0f}, {11111, -100.0f}});
    set_biases(rows[3], biases, {{11111, -100.0f}, {token, 100.0f}});
    const auto wanted = static_cast<int32_t>(token);
    EXPECT_EQ(sample(logits, vocab, rows, {}, 1, biases).sampled,
              (std::vector<int32_t>{wanted, alone, wanted, wanted}));
  }
}

TEST_P(LogitBiasTest, BiasGivesTheTokensOfLogitsThatHaveItAlready) {
  constexpr uint32_t kRows = 4;
  for (const uint32_t vocab : {300u, 5003u, 20001u}) {
    std::vector<uint16_t> counts(size_t{vocab} * kRows);
    for (uint16_t& count : counts) count = random_() % 5 == 0 ? 0x8001 : 0;
    for (const auto& [top_k, top_p] : {std::pair{0u, 1.0f}, {30u, 1.0f}, {0u, 0.9f}}) {
      const std::vector<float> logits = normals(size_t{vocab} * kRows, 2.0f);
      std::vector<float> sums = logits;
      std::vector<SampleRow> plain, biased;
      std::vector<LogitBias> list;
      for (uint32_t i = 0; i < kRows; ++i) {
        SampleRow row = random_row(static_cast<uint32_t>(random_()), 0.9f);
        row.slot = i;
        row.top_k = top_k;
        row.top_p = top_p;
        row.flags = i % 2 == 0 ? uint32_t{ops::kSamplePenalties} : 0;
        row.repetition_penalty = 1.2f;
        plain.push_back(row);
        std::vector<uint32_t> ids(vocab);
        std::iota(ids.begin(), ids.end(), 0);
        std::shuffle(ids.begin(), ids.end(), random_);
        ids.resize(i == 1 ? 0 : std::min(vocab, 700 * i + 1));  // more than there are threads, too
        std::vector<LogitBias> biases;
        for (const uint32_t id : ids) {
          biases.push_back({id, normals(1, 5.0f)[0]});
          sums[size_t{vocab} * i + id] += biases.back().bias;
        }
        set_biases(row, list, biases);
        biased.push_back(row);
      }
      const Result expected = sample(sums, vocab, plain, counts, 1);
      const Result result = sample(logits, vocab, biased, counts, 1, list);
      EXPECT_EQ(result.sampled, expected.sampled) << vocab << " k " << top_k << " p " << top_p;
      EXPECT_EQ(result.last_token, expected.last_token);
      EXPECT_EQ(result.counts, expected.counts);
    }
  }
}

TEST_P(LogitBiasTest, BiasOfATokenOutsideTheVocabularyIsSkipped) {
  const uint32_t vocab = 100;
  std::vector<float> logits(3 * vocab, 0.0f);
  for (const uint32_t row : {0u, 1u, 2u}) logits[row * vocab + 40] = 1.0f;
  std::vector<LogitBias> biases;
  std::vector<SampleRow> rows = {greedy_row(0), greedy_row(1), greedy_row(2)};
  set_biases(rows[1], biases, {{vocab, 100.0f}, {vocab + 7, 100.0f}, {~0u, 100.0f}});
  // In one chunk: the next row, which it would reach, comes after it.
  EXPECT_EQ(sample(logits, vocab, rows, {}, 3, biases).sampled, (std::vector<int32_t>{40, 40, 40}));
}

KR_INSTANTIATE_TARGETS(LogitBiasTest);

}  // namespace
}  // namespace krserve::kernels
