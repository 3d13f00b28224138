// embed_rows, rms_norm, silu_mul, gather_rows, count_tokens and read_bandwidth.
#include <cmath>
#include <limits>

#include "kernels/kernel_test.h"
#include "kernels/ops/embed_rows.h"
#include "kernels/ops/gather_rows.h"
#include "kernels/ops/read_bandwidth.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/sample.h"
#include "kernels/ops/silu_mul.h"

namespace krserve::kernels {
namespace {

using ops::FloatType;
using ops::WeightFormat;

class RowsTest : public KernelTest {};

TEST_P(RowsTest, EmbedRowsReadsEveryFormat) {
  struct Case {
    WeightFormat format;
    uint32_t k, group;
    FloatType scale_type;
  };
  for (const Case c : {Case{WeightFormat::kF32, 33, 0, FloatType::kF32},
                       Case{WeightFormat::kF16, 7, 0, FloatType::kF32},
                       Case{WeightFormat::kBF16, 64, 0, FloatType::kF32},
                       Case{WeightFormat::kQ4, 896, 64, FloatType::kF16},
                       Case{WeightFormat::kQ4, 96, 32, FloatType::kBF16},
                       Case{WeightFormat::kQ4, 128, 128, FloatType::kF32},
                       Case{WeightFormat::kQ8, 192, 64, FloatType::kF32}}) {
    const uint32_t vocab = 11;
    TestWeight weight =
        make_weight(random_, {vocab, c.k, c.format, c.scale_type, c.group}, misaligned(1));
    Step step;
    // Row 2 continues slot 3; the last three are outside the vocabulary.
    step.rows = {{4, 0, 0, 0, 0},  {10, 0, 1, 0, 0}, {ops::kTokenFromSlot, 9, 3, 0, 0},
                 {11, 0, 0, 0, 0}, {-7, 0, 0, 0, 0}, {ops::kTokenFromSlot, 9, 2, 0, 0}};
    std::vector<int32_t> last_token = {1, 2, 999, 5};
    const uint32_t expected[] = {4, 10, 5, 0, 0, 0};
    std::vector<std::byte> params = step.bytes();
    std::vector<float> x(step.rows.size() * c.k + 1, 42.0f);
    const ops::EmbedRowsArgs args{weight.args, step.layout()};
    run(ops::Op::kEmbedRows, &args,
        {params.data(), weight.data.data(), weight.scales.data(), weight.biases.data(),
         last_token.data(), x.data()},
        2);
    for (size_t r = 0; r < step.rows.size(); ++r) {
      for (uint32_t j = 0; j < c.k; ++j) {
        ASSERT_NEAR(x[r * c.k + j], weight.values[expected[r] * c.k + j], 1e-6)
            << "format " << static_cast<int>(c.format) << " row " << r << " element " << j;
      }
    }
    EXPECT_EQ(x.back(), 42.0f);
  }
}

TEST_P(RowsTest, RmsNormMatchesReferenceInAndOutOfPlace) {
  for (const uint32_t dim : {1u, 7u, 33u, 64u, 896u, 4099u}) {
    const uint32_t rows = 5;
    const std::vector<float> x = normals(rows * dim, 3.0f);
    std::vector<float> weight = normals(dim), y(rows * dim), in_place = x;
    std::vector<std::byte> params = Step::of_rows(rows).bytes();
    const ops::RmsNormArgs args{dim, 1e-6f, ops::RowCount::kRows};
    run(ops::Op::kRmsNorm, &args,
        {params.data(), const_cast<float*>(x.data()), weight.data(), y.data()}, 2);
    run(ops::Op::kRmsNorm, &args, {params.data(), in_place.data(), weight.data(), in_place.data()});
    for (uint32_t r = 0; r < rows; ++r) {
      double squares = 0;
      for (uint32_t j = 0; j < dim; ++j) squares += std::pow(double{x[r * dim + j]}, 2);
      const double inverse = 1 / std::sqrt(squares / dim + 1e-6);
      for (uint32_t j = 0; j < dim; ++j) {
        const double expected = x[r * dim + j] * inverse * weight[j];
        ASSERT_NEAR(y[r * dim + j], expected, 2e-6 * std::fabs(expected)) << dim << " " << j;
      }
    }
    EXPECT_EQ(y, in_place);
  }
}

TEST_P(RowsTest, SiluMulMatchesReferenceOverTheWholeRange) {
  for (const uint32_t dim : {1u, 5u, 2048u, 4864u + 3u}) {
    const uint32_t rows = 3;
    std::vector<float> gate = normals(rows * dim, 8.0f), up = normals(rows * dim);
    gate[0] = -200.0f;
    gate.back() = 300.0f;
    const std::vector<float> before = gate;
    std::vector<std::byte> params = Step::of_rows(rows).bytes();
    const ops::SiluMulArgs args{dim, ops::RowCount::kRows};
    run(ops::Op::kSiluMul, &args, {params.data(), gate.data(), up.data()}, 1);
    for (size_t i = 0; i < gate.size(); ++i) {
      const double x = before[i];
      const double expected = x / (1 + std::exp(-x)) * up[i];
      ASSERT_NEAR(gate[i], expected, 1e-6 * std::fabs(expected) + 1e-36) << "silu(" << x << ")";
    }
  }
}

// silu(x) / x = 1 / (1 + exp(-x)): the kernels' exp, seen through an op.
TEST_P(RowsTest, ExpIsAccurate) {
  std::vector<float> gate, up;
  for (double x = -80; x < 80; x += 0.00731) {
    gate.push_back(static_cast<float>(x));
    up.push_back(1.0f);
  }
  const std::vector<float> before = gate;
  std::vector<std::byte> params = Step::of_rows(1).bytes();
  const ops::SiluMulArgs args{static_cast<uint32_t>(gate.size()), ops::RowCount::kRows};
  run(ops::Op::kSiluMul, &args, {params.data(), gate.data(), up.data()});
  double worst = 0;
  for (size_t i = 0; i < gate.size(); ++i) {
    const double x = before[i];
    const double expected = x / (1 + std::exp(-x));
    worst = std::max(worst, std::fabs(gate[i] / expected - 1));
  }
  EXPECT_LT(worst, 4e-7);  // exp itself, then one addition, division and multiplication
}

TEST_P(RowsTest, SiluMulKeepsNan) {
  std::vector<float> gate = {1.0f, std::nanf(""), 2.0f}, up = {1.0f, 1.0f, 1.0f};
  std::vector<std::byte> params = Step::of_rows(1).bytes();
  const ops::SiluMulArgs args{3, ops::RowCount::kRows};
  run(ops::Op::kSiluMul, &args, {params.data(), gate.data(), up.data()});
  EXPECT_FALSE(std::isnan(gate[0]));
  EXPECT_TRUE(std::isnan(gate[1]));
  EXPECT_FALSE(std::isnan(gate[2]));
}

TEST_P(RowsTest, GatherRowsCopiesTheSampledRows) {
  const uint32_t dim = 37;
  Step step = Step::of_rows(6);
  step.samples.resize(3);
  step.samples[0].row = 5;
  step.samples[1].row = 0;
  step.samples[2].row = 3;
  std::vector<std::byte> params = step.bytes();
  std::vector<float> x = normals(6 * dim), y(3 * dim);
  const ops::GatherRowsArgs args{step.layout(), dim};
  run(ops::Op::kGatherRows, &args, {params.data(), x.data(), y.data()}, 1);
  for (size_t s = 0; s < 3; ++s) {
    for (uint32_t j = 0; j < dim; ++j) {
      EXPECT_EQ(y[s * dim + j], x[step.samples[s].row * dim + j]);
    }
  }
}

TEST_P(RowsTest, CountTokensFollowsTheRowFlags) {
  const uint32_t vocab = 21;
  Step step;
  constexpr uint32_t kPrompt = ops::kRowCountPrompt | ops::kRowPrompt,
                     kOutput = ops::kRowCountOutput;
  step.rows = {{5, 0, 1, 0, ops::kRowClearCounts | kPrompt},
               {5, 1, 1, 0, kPrompt},
               {6, 2, 1, 0, kOutput},
               {6, 3, 1, 0, kOutput},
               {7, 8, 0, 0, 0},
               {3, 9, 2, 0, kOutput},
               {ops::kTokenFromSlot, 10, 2, 0, kOutput},
               {21, 11, 2, 0, kPrompt}};
  std::vector<uint16_t> counts(3 * vocab, 2);
  counts[2 * vocab + 3] = 0xffff;  // saturated
  std::vector<uint16_t> expected = counts;
  std::fill(expected.begin() + vocab, expected.begin() + 2 * vocab, 0);
  expected[vocab + 5] = ops::kCountPromptBit;
  expected[vocab + 6] = 2;
  std::vector<std::byte> params = step.bytes();
  const ops::CountTokensArgs args{step.layout(), vocab};
  for (const uint32_t chunk : {1u, 3u, 100u}) {
    std::vector<uint16_t> result = counts;
    run(ops::Op::kCountTokens, &args, {params.data(), result.data()}, chunk);
    EXPECT_EQ(result, expected) << "in chunks of " << chunk;
  }
}

TEST_P(RowsTest, CountTokensCountsALongPromptAfterItsLastClear) {
  const uint32_t vocab = 1001, prompt = 700;
  Step step;
  for (uint32_t r = 0; r < prompt; ++r) {
    const auto token = static_cast<int32_t>(random_() % vocab);
    const uint32_t clear = r == 0 || r == 300 ? 1u * ops::kRowClearCounts : 0u;
    const uint32_t count = r < 500 ? ops::kRowCountPrompt : ops::kRowCountOutput;
    step.rows.push_back({r % 3 == 0 ? 17 : token, r, 1, 0, clear | count});
  }
  step.rows.push_back({17, 5, 0, 0, ops::kRowCountOutput});
  std::vector<uint16_t> counts(2 * vocab, 5), expected = counts;
  std::fill(expected.begin() + vocab, expected.end(), 0);
  for (uint32_t r = 300; r < prompt; ++r) {
    uint16_t& count = expected[vocab + static_cast<uint32_t>(step.rows[r].token)];
    count = static_cast<uint16_t>(r < 500 ? count | ops::kCountPromptBit : count + 1);
  }
  expected[17] = 6;
  std::vector<std::byte> params = step.bytes();
  const ops::CountTokensArgs args{step.layout(), vocab};
  run(ops::Op::kCountTokens, &args, {params.data(), counts.data()}, 3);
  EXPECT_EQ(counts, expected);
}

TEST_P(RowsTest, ReadBandwidthSumsEveryWord) {
  const size_t bytes = 64 * 1024 + 64 * 9 + 20;
  std::vector<uint32_t> data(bytes / 4);
  for (uint32_t& word : data) word = static_cast<uint32_t>(random_());
  for (const uint64_t chunk : {64u, 4096u, 1u << 20}) {
    const size_t chunks = (bytes + chunk - 1) / chunk;
    std::vector<float> sums(chunks + 1, -1.0f);
    const ops::ReadBandwidthArgs args{bytes, chunk};
    run(ops::Op::kReadBandwidth, &args, {data.data(), sums.data()}, 3);
    for (size_t c = 0; c < chunks; ++c) {
      uint32_t sum = 0;
      for (size_t i = c * chunk / 4; i < std::min<size_t>((c + 1) * chunk, bytes) / 4; ++i) {
        sum += data[i];
      }
      EXPECT_EQ(sums[c], static_cast<float>(sum)) << "chunk " << c << " of " << chunk << " bytes";
    }
    EXPECT_EQ(sums.back(), -1.0f);
  }
}

TEST_P(RowsTest, NoRowsAreNoTasks) {
  std::vector<std::byte> params = Step{}.bytes();
  const ops::RmsNormArgs args{8, 1e-5f, ops::RowCount::kRows};
  run(ops::Op::kRmsNorm, &args, {params.data(), nullptr, nullptr, nullptr});
  const ops::EmbedRowsArgs embed{{}, Step{}.layout()};
  run(ops::Op::kEmbedRows, &embed, {params.data(), nullptr, nullptr, nullptr, nullptr, nullptr});
}

KR_INSTANTIATE_TARGETS(RowsTest);

}  // namespace
}  // namespace krserve::kernels
