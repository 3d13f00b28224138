// A matmul on Metal, as planned: prompt_matmul for the rows of prompts, the dialect's for others.
#include <algorithm>
#include <cmath>

#include "kernels/dialect/simt.h"
#include "kernels/entry/simt_kernels.h"
#include "kernels/kernel_test.h"
#include "kernels/metal_kernels.h"
#include "kernels/ops/matmul.h"

namespace krserve::kernels {
namespace {

using ops::FloatType;
using ops::WeightArgs;
using ops::WeightFormat;

enum Only { kBoth, kPromptLaunch, kOtherLaunch };

class PromptMatmulTest : public ::testing::Test {
 protected:
  std::vector<float> normals(size_t count) {
    std::normal_distribution<float> normal;
    std::vector<float> values(count);
    for (float& v : values) v = normal(random_);
    return values;
  }

  // A row for each element of `prompts`; y keeps what it held before.
  std::vector<float> multiply(TestWeight& weight, const std::vector<float>& x,
                              const std::vector<bool>& prompts, std::vector<float> y = {},
                              uint32_t flags = ops::kMatmulPrompts,
                              const std::vector<float>& bias = {}, Only only = kBoth) {
    Step step = Step::of_rows(static_cast<uint32_t>(prompts.size()));
    for (size_t r = 0; r < prompts.size(); ++r) {
      // What other flags say does not matter here.
      step.rows[r].flags = (prompts[r] ? 1u * ops::kRowPrompt : 0u) | (random_() & ops::kRowCounts);
    }
    std::vector<std::byte> params = step.bytes();
    y.resize(prompts.size() * weight.args.n, std::nanf(""));
    GpuDispatch dispatch;
    dispatch.op = ops::Op::kMatmul;
    const ops::MatmulArgs args{weight.args, ops::RowCount::kRows, flags};
    std::memcpy(dispatch.args, &args, sizeof(args));
    void* const buffers[] = {params.data(),
                             const_cast<float*>(x.data()),
                             weight.data.data(),
                             weight.scales.data(),
                             weight.biases.data(),
                             const_cast<float*>(bias.data()),
                             y.data()};
    std::copy(std::begin(buffers), std::end(buffers), dispatch.buffers);
    // Room for a few more rows than there are.
    dispatch.bytes[1] = (prompts.size() + random_() % 40) * weight.args.k * sizeof(float);
    run(dispatch, only);
    return y;
  }

  // The launches of one matmul, in either order: they do not wait for each other.
  void run(const GpuDispatch& dispatch, Only only) {
    std::vector<metal::Launch> launches = metal::plan_launches({&dispatch, 1}, {}, nullptr);
    if (only != kBoth) launches = {launches.at(only == kPromptLaunch ? 0 : 1)};
    if (random_() % 2 == 0) std::reverse(launches.begin(), launches.end());
    for (const metal::Launch& planned : launches) {
      GpuLaunch launch;
      launch.kernel = simt_metal_kernel(planned.kernel);
      launch.grid = planned.grid;
      launch.block.x = planned.threads;
      launch.params_bytes = sizeof(planned.params);
      std::memcpy(launch.params, &planned.params, sizeof(planned.params));
      simt_launch(launch, random_());
    }
  }

  static void expect_near_reference(const TestWeight& weight, const std::vector<float>& x,
                                    const std::vector<float>& y) {
    const uint32_t n = weight.args.n, k = weight.args.k;
    for (size_t i = 0; i < y.size(); ++i) {
      const float* row = x.data() + i / n * k;
      const double* w = weight.values.data() + i % n * k;
      double sum = 0, squares = 0;
      for (uint32_t j = 0; j < k; ++j) {
        sum += row[j] * w[j];
        squares += row[j] * w[j] * row[j] * w[j];
      }
      ASSERT_NEAR(y[i], sum, 1e-5 * std::sqrt(squares) + 1e-30)
          << "row " << i / n << ", output " << i % n << " of n=" << n << " k=" << k;
    }
  }

  void check(WeightArgs args, uint32_t rows) {
    SCOPED_TRACE(testing::Message()
                 << "format " << static_cast<int>(args.format) << " group " << args.group_size
                 << " scale type " << static_cast<int>(args.scale_type) << " rows " << rows);
    TestWeight weight = make_weight(random_, args, 4 * (rows % 4));
    const std::vector<float> x = normals(size_t{rows} * args.k);
    expect_near_reference(weight, x, multiply(weight, x, std::vector<bool>(rows, true)));
  }

  std::mt19937 random_{2024};
};

TEST_F(PromptMatmulTest, FloatFormatsMatchReferenceAtRaggedSizes) {
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kF16, WeightFormat::kBF16}) {
    for (const uint32_t k : {1u, 7u, 8u, 33u, 72u, 160u}) {
      for (const uint32_t n : {1u, 63u, 64u, 65u, 130u}) {
        for (const uint32_t rows : {1u, 8u, 9u, 31u, 32u, 33u, 70u}) {
          check({n, k, format, FloatType::kF32, 0}, rows);
        }
      }
    }
  }
}

TEST_F(PromptMatmulTest, QuantizedFormatsMatchReferenceForAllGroupAndScaleTypes) {
  for (const WeightFormat format : {WeightFormat::kQ4, WeightFormat::kQ8}) {
    for (const uint32_t group : {32u, 64u, 128u}) {
      for (const FloatType type : {FloatType::kF32, FloatType::kF16, FloatType::kBF16}) {
        for (const uint32_t rows : {1u, 17u, 40u}) {
          check({17, group, format, type, group}, rows);
          check({129, group * 3, format, type, group}, rows);
        }
      }
    }
  }
}

TEST_F(PromptMatmulTest, LongRowsMatchReference) {
  check({33, 4864, WeightFormat::kQ4, FloatType::kF16, 64}, 5);
  check({9, 2500, WeightFormat::kBF16, FloatType::kF32, 0}, 35);
}

// Chunks of a prompt: tokens depend neither on where they were cut nor on what ran beside.
TEST_F(PromptMatmulTest, ARowKeepsItsBitsWhereverItLies) {
  const std::pair<WeightFormat, uint32_t> formats[] = {{WeightFormat::kQ4, 160},
                                                       {WeightFormat::kBF16, 77}};
  for (const auto& [format, k] : formats) {
    const uint32_t n = 70, rows = 75;
    TestWeight weight = make_weight(
        random_, {n, k, format, FloatType::kF16, format == WeightFormat::kQ4 ? 32u : 0u}, 4);
    const std::vector<float> x = normals(size_t{rows} * k);
    const std::vector<float> all = multiply(weight, x, std::vector<bool>(rows, true));
    for (const uint32_t first : {0u, 1u, 7u, 31u, 40u}) {
      for (const uint32_t count : {1u, 2u, 9u, 33u}) {
        const std::vector<float> part(x.begin() + first * k, x.begin() + size_t{first + count} * k);
        const std::vector<float> y = multiply(weight, part, std::vector<bool>(count, true));
        ASSERT_EQ(std::memcmp(y.data(), all.data() + size_t{first} * n, y.size() * 4), 0)
            << "rows " << first << " + " << count;
      }
    }
  }
}

TEST_F(PromptMatmulTest, EachLaunchWritesItsRowsAndNoOthers) {
  const uint32_t n = 70, k = 96, rows = 83;
  TestWeight weight = make_weight(random_, {n, k, WeightFormat::kQ8, FloatType::kF16, 32}, 0);
  const std::vector<float> x = normals(size_t{rows} * k), bias = normals(n);
  const std::vector<float> before = normals(size_t{rows} * n);
  const uint32_t flags = ops::kMatmulPrompts | ops::kMatmulBias | ops::kMatmulAccumulate;
  const std::vector<float> as_prompts =
      multiply(weight, x, std::vector<bool>(rows, true), before, flags, bias);
  const std::vector<float> as_others =
      multiply(weight, x, std::vector<bool>(rows, false), before, flags, bias);
  EXPECT_EQ(as_others, multiply(weight, x, std::vector<bool>(rows, true), before,
                                ops::kMatmulBias | ops::kMatmulAccumulate, bias));
  EXPECT_NE(as_prompts, as_others);  // else nothing below shows who wrote what
  for (int round = 0; round < 12; ++round) {
    std::vector<bool> prompts(rows);
    // Now and then: no prompt, or all; a decode step's rows and then a chunk; anything.
    const uint32_t decodes = random_() % rows;
    for (uint32_t r = 0; r < rows; ++r) {
      prompts[r] = round < 2 ? round == 1 : (round < 7 ? r >= decodes : random_() % 4 == 0);
    }
    for (const Only only : {kBoth, kPromptLaunch, kOtherLaunch}) {
      const std::vector<float> y = multiply(weight, x, prompts, before, flags, bias, only);
      for (uint32_t i = 0; i < y.size(); ++i) {
        const bool prompt = prompts[i / n];
        const bool written = only == kBoth || prompt == (only == kPromptLaunch);
        const float expected = !written ? before[i] : (prompt ? as_prompts[i] : as_others[i]);
        ASSERT_EQ(y[i], expected) << "row " << i / n << ", output " << i % n << ", " << only;
      }
    }
  }
}

TEST_F(PromptMatmulTest, BiasAndAccumulateAddExactlyOnce) {
  const uint32_t n = 35, k = 96, rows = 7;
  TestWeight weight = make_weight(random_, {n, k, WeightFormat::kQ4, FloatType::kF32, 32}, 4);
  const std::vector<float> x = normals(rows * k), bias = normals(n), before = normals(rows * n);
  const std::vector<bool> prompts(rows, true);
  const std::vector<float> plain = multiply(weight, x, prompts);
  const std::vector<float> both =
      multiply(weight, x, prompts, before,
               ops::kMatmulPrompts | ops::kMatmulBias | ops::kMatmulAccumulate, bias);
  for (uint32_t i = 0; i < rows * n; ++i) EXPECT_EQ(both[i], plain[i] + bias[i % n] + before[i]);
}

TEST_F(PromptMatmulTest, NanStaysInItsRowAndOutput) {
  const uint32_t n = 20, k = 64, rows = 9;
  TestWeight weight = make_weight(random_, {n, k, WeightFormat::kF32, FloatType::kF32, 0}, 0);
  store_float(weight.data.data(), FloatType::kF32, 3 * k + 5, std::nanf(""));
  std::vector<float> x = normals(rows * k);
  x[k + 7] = std::nanf("");
  const std::vector<float> y = multiply(weight, x, std::vector<bool>(rows, true));
  for (uint32_t i = 0; i < y.size(); ++i) {
    EXPECT_EQ(std::isnan(y[i]), i / n == 1 || i % n == 3) << i / n << ", " << i % n;
  }
}

TEST_F(PromptMatmulTest, NoRowsTouchNothing) {
  TestWeight weight = make_weight(random_, {65, 64, WeightFormat::kQ4, FloatType::kF32, 64}, 0);
  EXPECT_TRUE(multiply(weight, {}, {}).empty());
}

}  // namespace
}  // namespace krserve::kernels
