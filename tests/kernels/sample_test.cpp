#include "kernels/ops/sample.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "kernels/sampling.h"
#include "kernels/tuned/cpu/philox.h"

namespace krserve::kernels {
namespace {

using ops::SampleRow;

// The kept tokens and their probabilities, by sorting everything in double.
std::map<uint32_t, double> reference_distribution(const std::vector<float>& logits,
                                                  const SampleRow& row) {
  struct Token {
    uint32_t id;
    double weight;
    float logit;
  };
  const float peak = *std::max_element(logits.begin(), logits.end());
  std::vector<Token> tokens;
  for (uint32_t id = 0; id < logits.size(); ++id) {
    const double weight = std::exp((double{logits[id]} - peak) / row.temperature);
    if (weight > 0 && weight >= row.min_p) tokens.push_back({id, weight, logits[id]});
  }
  std::stable_sort(tokens.begin(), tokens.end(),
                   [](const Token& a, const Token& b) { return a.logit > b.logit; });
  if (row.top_k > 0 && row.top_k < tokens.size()) tokens.resize(row.top_k);
  double mass = 0;
  for (const Token& token : tokens) mass += token.weight;
  double before = 0;
  std::map<uint32_t, double> kept;
  double kept_mass = 0;
  for (const Token& token : tokens) {
    if (before >= row.top_p * mass) break;
    kept[token.id] = token.weight;
    kept_mass += token.weight;
    before += token.weight;
  }
  for (auto& [id, weight] : kept) weight /= kept_mass;
  return kept;
}

class SampleTest : public SamplingTest {
 protected:
  // Draws `draws` times from the same logits with counters 0, 1, ...
  std::map<uint32_t, uint32_t> draw_many(const std::vector<float>& logits, SampleRow row,
                                         uint32_t draws) {
    const auto vocab = static_cast<uint32_t>(logits.size());
    std::map<uint32_t, uint32_t> seen;
    constexpr uint32_t kBatch = 50;
    for (uint32_t first = 0; first < draws; first += kBatch) {
      std::vector<float> all;
      std::vector<SampleRow> rows;
      for (uint32_t i = 0; i < kBatch; ++i) {
        all.insert(all.end(), logits.begin(), logits.end());
        row.counter = first + i;
        rows.push_back(row);
      }
      for (const int32_t token : sample(all, vocab, rows).sampled) {
        ++seen[static_cast<uint32_t>(token)];
      }
    }
    return seen;
  }

  // Chi-square with a bound far beyond chance (6 sigma), and no token outside the set.
  void expect_distribution(const std::vector<float>& logits, const SampleRow& row, uint32_t draws) {
    const auto expected = reference_distribution(logits, row);
    const auto seen = draw_many(logits, row, draws);
    for (const auto& [id, count] : seen) ASSERT_TRUE(expected.contains(id)) << "token " << id;
    double chi_square = 0, cells = 0, rare_expected = 0, rare_seen = 0;
    for (const auto& [id, probability] : expected) {
      const double want = probability * draws;
      const double have = seen.contains(id) ? seen.at(id) : 0;
      if (want < 5) {
        rare_expected += want;
        rare_seen += have;
        continue;
      }
      chi_square += (have - want) * (have - want) / want;
      ++cells;
    }
    if (rare_expected >= 5) {
      chi_square += (rare_seen - rare_expected) * (rare_seen - rare_expected) / rare_expected;
      ++cells;
    }
    EXPECT_LT(chi_square, cells + 6 * std::sqrt(2 * cells) + 6) << cells << " cells";
  }
};

// Known answers of Random123 1.14 (tests/kat_vectors), philox4x32 with 10 rounds.
TEST(Philox, MatchesThePublishedVectors) {
  struct Vector {
    uint32_t counter[4], key[2], result[4];
  };
  const Vector vectors[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
       {0xffffffff, 0xffffffff},
       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}};
  for (const Vector& v : vectors) {
    const auto block = KR_CPU_ISA::philox(
        {{v.counter[0], v.counter[1], v.counter[2], v.counter[3]}}, v.key[0], v.key[1]);
    for (int i = 0; i < 4; ++i) EXPECT_EQ(block.word[i], v.result[i]);
  }
}

TEST(Philox, UniformDrawsAreBelowOneAndSpread) {
  double sum = 0;
  for (uint32_t i = 0; i < 10000; ++i) {
    const double u = KR_CPU_ISA::uniform_draw(1, 2, i);
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
  }
  EXPECT_NEAR(sum / 10000, 0.5, 0.02);
}

TEST_P(SampleTest, GreedyIsArgmaxAtEverySizeAndPosition) {
  for (const uint32_t vocab : {1u, 2u, 7u, 16u, 17u, 63u, 64u, 65u, 129u, 1000u}) {
    for (uint32_t winner = 0; winner < vocab; winner += 1 + vocab / 40) {
      std::vector<float> logits = normals(vocab);
      logits[winner] = 50.0f;
      const Result result = sample(logits, vocab, {greedy_row(2)});
      ASSERT_EQ(result.sampled[0], static_cast<int32_t>(winner)) << "vocab " << vocab;
      EXPECT_EQ(result.last_token,
                (std::vector<int32_t>{-99, -99, static_cast<int32_t>(winner), -99}));
    }
  }
}

TEST_P(SampleTest, GreedySearchesAFullVocabulary) {
  const uint32_t vocab = 151936;
  std::vector<float> logits = normals(vocab);
  std::vector<uint16_t> counts(4 * size_t{vocab}, 0);
  // Each beats those before: higher, or as high and of a lower id.
  const std::pair<uint32_t, float> winners[] = {{75968, 21.0f},  {8192, 21.0f},   {8191, 21.0f},
                                                {151935, 22.0f}, {151934, 22.0f}, {150910, 22.0f},
                                                {100000, 23.0f}, {0, 23.0f}};
  for (const auto& [id, value] : winners) {
    logits[id] = value;
    ASSERT_EQ(sample(logits, vocab, {greedy_row(3)}).sampled[0], static_cast<int32_t>(id));
  }
  SampleRow row = greedy_row(1);
  row.flags |= ops::kSamplePenalties;
  row.presence_penalty = 100;
  for (const uint32_t id : {0u, 100000u, 150910u, 151934u}) counts[vocab + id] = 1;
  counts[vocab + 151935] = 0x7fff;
  std::vector<float> twice = logits;
  twice.insert(twice.end(), logits.begin(), logits.end());
  const Result result = sample(twice, vocab, {row, greedy_row(0)}, counts, 1);
  EXPECT_EQ(result.sampled, (std::vector<int32_t>{8191, 0})) << "one row is penalized, one is not";
  EXPECT_EQ(result.counts[vocab + 8191], 1);
  for (const uint32_t at : {0u, 70000u, 151935u}) {
    std::vector<float> broken = logits;
    broken[at] = std::nanf("");
    EXPECT_EQ(sample(broken, vocab, {greedy_row(3)}).sampled[0], ops::kSampledNan) << at;
  }
}

TEST_P(SampleTest, TiesGoToTheLowestToken) {
  std::vector<float> logits(300, -1.0f);
  for (const uint32_t id : {299u, 270u, 100u, 83u, 67u}) {
    logits[id] = 2.0f;
    EXPECT_EQ(sample(logits, 300, {greedy_row()}).sampled[0], static_cast<int32_t>(id));
    SampleRow row = random_row(1);
    row.top_k = 1;
    EXPECT_EQ(sample(logits, 300, {row}).sampled[0], static_cast<int32_t>(id));
  }
  EXPECT_EQ(sample(std::vector<float>(300, -3.0f), 300, {greedy_row()}).sampled[0], 0);
}

TEST_P(SampleTest, NanFailsItsRowAlone) {
  const uint32_t vocab = 133;
  for (const uint32_t at : {0u, 64u, 100u, 132u}) {
    std::vector<float> logits = normals(2 * vocab);
    logits[at] = std::nanf("");
    logits[vocab + 9] = 60.0f;
    for (SampleRow row : {greedy_row(1), random_row(0)}) {
      row.slot = 1;
      const Result result = sample(logits, vocab, {row, greedy_row(3)}, {}, 1);
      EXPECT_EQ(result.sampled, (std::vector<int32_t>{ops::kSampledNan, 9}));
      EXPECT_EQ(result.last_token, (std::vector<int32_t>{-99, 0, -99, 9}));
    }
  }
}

TEST_P(SampleTest, InfinitiesAreOrdinaryLogits) {
  const uint32_t vocab = 70;
  std::vector<float> logits(vocab, -INFINITY);
  logits[68] = -5.0f;
  EXPECT_EQ(sample(logits, vocab, {greedy_row()}).sampled[0], 68);
  for (uint32_t counter = 0; counter < 20; ++counter) {
    EXPECT_EQ(sample(logits, vocab, {random_row(counter)}).sampled[0], 68);
  }
  logits[30] = INFINITY;
  EXPECT_EQ(sample(logits, vocab, {random_row(0)}).sampled[0], 30);
  // Nothing can be drawn.
  EXPECT_EQ(sample(std::vector<float>(vocab, -INFINITY), vocab, {random_row(0)}).sampled[0],
            ops::kSampledNan);
}

TEST_P(SampleTest, PenaltiesAreExact) {
  const uint32_t vocab = 50;
  SampleRow row = greedy_row(1);
  row.flags |= ops::kSamplePenalties;
  row.repetition_penalty = 1.5f;
  row.presence_penalty = 0.25f;
  row.frequency_penalty = 0.5f;
  std::vector<uint16_t> counts(4 * vocab, 0);
  counts[vocab + 3] = ops::kCountPromptBit;       // 6 / 1.5 = 4
  counts[vocab + 20] = 3;                         // 9 / 1.5 - 1.75 = 4.25
  counts[vocab + 49] = ops::kCountPromptBit | 1;  // -1 * 1.5 - 0.75 = -2.25
  std::vector<float> logits(vocab, -2.5f);
  logits[3] = 6.0f;
  logits[20] = 9.0f;
  logits[49] = -1.0f;
  const auto winner_against = [&](float rival) {
    logits[30] = rival;
    return sample(logits, vocab, {row}, counts).sampled[0];
  };
  EXPECT_EQ(winner_against(4.25f), 20);  // equal: the lower id
  EXPECT_EQ(winner_against(4.2500005f), 30);
  logits[20] = -9.0f;
  EXPECT_EQ(winner_against(4.0f), 3);
  EXPECT_EQ(winner_against(4.0000005f), 30);
  logits[3] = -9.0f;
  EXPECT_EQ(winner_against(-2.25f), 30);
  EXPECT_EQ(winner_against(-2.2500002f), 49);
}

TEST_P(SampleTest, DrawnTokensAreCountedAndSaturate) {
  const uint32_t vocab = 40;
  SampleRow row = greedy_row(2);
  row.flags |= ops::kSamplePenalties;
  std::vector<float> logits(vocab, 0.0f);
  logits[33] = 1.0f;
  for (const uint16_t before : {0x0000, 0x8000, 0x0005, 0x7fff, 0xffff}) {
    std::vector<uint16_t> counts(4 * vocab, 0);
    counts[2 * vocab + 33] = before;
    std::vector<uint16_t> expected = counts;
    if ((before & 0x7fff) != 0x7fff) ++expected[2 * vocab + 33];
    EXPECT_EQ(sample(logits, vocab, {row}, counts).counts, expected);
  }
  const Result untouched = sample(logits, vocab, {greedy_row(2)}, std::vector<uint16_t>(160, 7));
  EXPECT_EQ(untouched.counts, std::vector<uint16_t>(160, 7));
}

TEST_P(SampleTest, DrawsFollowTheSoftmax) {
  const uint32_t draws = unless_emulated(20000u, 500u);
  expect_distribution(normals(40, 1.5f), random_row(0), draws);
  expect_distribution(normals(900, 1.0f), random_row(0, 0.6f), draws);
}

TEST_P(SampleTest, FiltersKeepExactlyTheirSets) {
  const std::vector<float> logits = normals(700, 2.0f);
  const auto with = [](uint32_t top_k, float top_p, float min_p, float temperature) {
    SampleRow row = random_row(0, temperature);
    row.top_k = top_k;
    row.top_p = top_p;
    row.min_p = min_p;
    return row;
  };
  for (const SampleRow& row :
       {with(1, 1.0f, 0, 1), with(3, 1.0f, 0, 1), with(40, 1.0f, 0, 3), with(650, 1.0f, 0, 2),
        with(0, 0.5f, 0, 1), with(0, 0.93f, 0, 1.3f), with(0, 1e-6f, 0, 1), with(20, 0.7f, 0, 2),
        with(0, 1.0f, 0.2f, 1), with(0, 1.0f, 0.01f, 1), with(30, 0.8f, 0.05f, 2),
        with(5000, 1.0f, 0, 1), with(300, 0.999f, 0, 4)}) {
    SCOPED_TRACE(testing::Message() << "k " << row.top_k << " p " << row.top_p << " min_p "
                                    << row.min_p << " t " << row.temperature);
    expect_distribution(logits, row, unless_emulated(6000u, 200u));
  }
}

// Every kept token is drawn when the kept ones are about equally likely.
TEST_P(SampleTest, FilteredSetsAreComplete) {
  std::vector<float> logits(500, -20.0f);
  std::vector<uint32_t> ids(500);
  std::iota(ids.begin(), ids.end(), 0);
  std::shuffle(ids.begin(), ids.end(), random_);
  for (int i = 0; i < 20; ++i) logits[ids[i]] = 5.0f - 0.01f * static_cast<float>(i);
  for (const auto& [top_k, top_p] : {std::pair{12u, 1.0f}, {0u, 0.52f}, {18u, 0.63f}}) {
    SampleRow row = random_row(0);
    row.top_k = top_k;
    row.top_p = top_p;
    const auto expected = reference_distribution(logits, row);
    const auto seen = draw_many(logits, row, unless_emulated(3000u, 300u));
    ASSERT_EQ(seen.size(), expected.size()) << top_k << " " << top_p;
    for (const auto& [id, count] : seen) EXPECT_TRUE(expected.contains(id));
  }
}

TEST_P(SampleTest, TiesAtTheCutAreKeptInOrderOfToken) {
  std::vector<float> logits(400, -1.0f);
  for (const uint32_t id : {390u, 10u, 200u, 201u, 350u}) logits[id] = 1.0f;
  logits[300] = 2.0f;
  SampleRow row = random_row(0);
  row.top_k = 4;  // 300 and the first three of the five
  const auto seen = draw_many(logits, row, unless_emulated(2000u, 150u));
  std::vector<uint32_t> ids;
  for (const auto& [id, count] : seen) ids.push_back(id);
  EXPECT_EQ(ids, (std::vector<uint32_t>{10, 200, 201, 300}));
  // All equal: top-p keeps the lowest half.
  row.top_k = 0;
  row.top_p = 0.5f;
  const auto half = draw_many(std::vector<float>(16, 3.0f), row, unless_emulated(2000u, 150u));
  EXPECT_EQ(half.size(), 8u);
  EXPECT_EQ(half.rbegin()->first, 7u);
}

TEST_P(SampleTest, FullVocabularyTopPMatchesTheSort) {
  const uint32_t vocab = 151936;
  for (const float spread : {0.0f, 0.3f, 4.0f}) {
    const std::vector<float> logits = normals(vocab, spread);
    SampleRow row = random_row(0);
    row.top_p = 0.9f;
    const auto expected = reference_distribution(logits, row);
    // The draw is by inverse CDF in order of id.
    for (uint32_t counter = 0; counter < 4; ++counter) {
      row.counter = counter;
      const double u = KR_CPU_ISA::uniform_draw(row.seed_low, row.seed_high, counter);
      const auto token = static_cast<uint32_t>(sample(logits, vocab, {row}).sampled[0]);
      double below = 0;
      for (const auto& [id, probability] : expected) {
        if (id >= token) break;
        below += probability;
      }
      ASSERT_TRUE(expected.contains(token)) << "spread " << spread << ", token " << token;
      EXPECT_LE(below, u + 1e-4) << "spread " << spread;
      EXPECT_GE(below + expected.at(token), u - 1e-4) << "spread " << spread;
    }
  }
}

TEST_P(SampleTest, ADrawDependsOnSeedAndCounterOnly) {
  const uint32_t vocab = 2000;
  const std::vector<float> one = normals(vocab, 0.5f);
  std::vector<float> three = normals(vocab);
  three.insert(three.end(), one.begin(), one.end());
  three.insert(three.end(), one.begin(), one.end());
  SampleRow other = random_row(3);
  other.seed_high ^= 1;
  const Result alone = sample(one, vocab, {random_row(3)});
  const Result together = sample(three, vocab, {greedy_row(), random_row(3), other}, {}, 1);
  EXPECT_EQ(alone.sampled[0], together.sampled[1]);
  EXPECT_NE(alone.sampled[0], together.sampled[2]);
}

KR_INSTANTIATE_TARGETS(SampleTest);

}  // namespace
}  // namespace krserve::kernels
