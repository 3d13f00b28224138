#include "kernels/ops/matmul.h"

#include <algorithm>
#include <cmath>

#include "kernels/kernel_test.h"

namespace krserve::kernels {
namespace {

using ops::FloatType;
using ops::WeightArgs;
using ops::WeightFormat;

class MatmulTest : public KernelTest {
 protected:
  // x is [rows, k]; y keeps what it held before when the flags say to accumulate.
  std::vector<float> multiply(TestWeight& weight, const std::vector<float>& x, uint32_t rows,
                              uint32_t flags = 0, const std::vector<float>& bias = {},
                              std::vector<float> y = {}, uint32_t chunk = 1u << 30) {
    Step step = Step::of_rows(rows);
    step.samples.resize(flags % 2 == 0 ? 1 : 2);  // must not matter: the op counts rows
    std::vector<std::byte> params = step.bytes();
    y.resize(size_t{rows} * weight.args.n, std::nanf(""));
    const ops::MatmulArgs args{weight.args, ops::RowCount::kRows, flags};
    run(ops::Op::kMatmul, &args,
        {params.data(), const_cast<float*>(x.data()), weight.data.data(), weight.scales.data(),
         weight.biases.data(), const_cast<float*>(bias.data()), y.data()},
        chunk);
    return y;
  }

  // What rounding a row's activations to 16 bits, in blocks of 64, may add to an output's error:
  // four standard deviations of the sum of its rounding errors.
  static double rounding_error(const float* x, const double* w, uint32_t k) {
    double variance = 0;
    for (uint32_t block = 0; block < k; block += 64) {
      double largest = 0, squares = 0;
      for (uint32_t j = block; j < block + 64; ++j) {
        largest = std::max(largest, std::abs(double{x[j]}));
        squares += w[j] * w[j];
      }
      const double step = largest / 32639;
      variance += step * step / 12 * squares;
    }
    return 4 * std::sqrt(variance);
  }

  void expect_near_reference(const TestWeight& weight, const std::vector<float>& x, uint32_t rows,
                             const std::vector<float>& y) {
    const uint32_t n = weight.args.n, k = weight.args.k;
    const bool integers = is_level(SimdLevel::kAvx512Vnni) &&
                          weight.args.format == WeightFormat::kQ4 && weight.args.group_size >= 64;
    for (uint32_t r = 0; r < rows; ++r) {
      const float* row = x.data() + size_t{r} * k;
      for (uint32_t i = 0; i < n; ++i) {
        const double* w = weight.values.data() + size_t{i} * k;
        double sum = 0, magnitude = 0;
        for (uint32_t j = 0; j < k; ++j) {
          const double term = double{row[j]} * w[j];
          sum += term;
          magnitude += term * term;
        }
        const double rounding = integers ? rounding_error(row, w, k) : 0;
        ASSERT_NEAR(y[size_t{r} * n + i], sum, 1e-5 * std::sqrt(magnitude) + rounding + 1e-30)
            << "row " << r << ", output " << i << " of n=" << n << " k=" << k << " rows=" << rows;
      }
    }
  }

  void check(WeightArgs args, uint32_t rows, size_t misalignment) {
    SCOPED_TRACE(testing::Message()
                 << "format " << static_cast<int>(args.format) << " group " << args.group_size
                 << " scale type " << static_cast<int>(args.scale_type) << " misaligned by "
                 << misalignment);
    TestWeight weight = make_weight(random_, args, misaligned(misalignment));
    const std::vector<float> x = normals(size_t{rows} * args.k);
    expect_near_reference(weight, x, rows, multiply(weight, x, rows));
  }
};

constexpr uint32_t kRowCounts[] = {1, 2, 3, 4, 5, 8, 33};

TEST_P(MatmulTest, FloatFormatsMatchReferenceAtOddSizes) {
  for (const WeightFormat format : {WeightFormat::kF32, WeightFormat::kF16, WeightFormat::kBF16}) {
    for (const uint32_t k : {1u, 7u, 33u, 64u, 1100u}) {
      for (const uint32_t n : {1u, 3u, 17u, 65u}) {
        for (const uint32_t rows : kRowCounts) {
          check({n, k, format, FloatType::kF32, 0}, rows, (n + k + rows) % 5);
        }
      }
    }
  }
}

TEST_P(MatmulTest, QuantizedFormatsMatchReferenceForAllGroupAndScaleTypes) {
  for (const WeightFormat format : {WeightFormat::kQ4, WeightFormat::kQ8}) {
    for (const uint32_t group : {32u, 64u, 128u}) {
      for (const FloatType type : {FloatType::kF32, FloatType::kF16, FloatType::kBF16}) {
        for (const uint32_t rows : kRowCounts) {
          check({17, group, format, type, group}, rows, rows % 4);
          check({65, group * 9, format, type, group}, rows, 1 + rows % 3);
        }
      }
    }
  }
}

TEST_P(MatmulTest, LongRowsMatchReference) {
  for (const uint32_t rows : {1u, 5u, 130u}) {
    check({33, 4864, WeightFormat::kQ4, FloatType::kF16, 64}, rows, 1);
    check({9, 4864, WeightFormat::kQ8, FloatType::kBF16, 32}, rows, 2);
    check({9, 2500, WeightFormat::kBF16, FloatType::kF32, 0}, rows, 1);
  }
}

TEST_P(MatmulTest, ManyOutputsMatchReference) {
  check({16391, 32, WeightFormat::kQ4, FloatType::kF32, 32}, 1, 3);
  check({16391, 32, WeightFormat::kQ4, FloatType::kF32, 32}, 4, 3);
  check({16391, 16, WeightFormat::kF16, FloatType::kF32, 0}, 2, 1);
}

TEST_P(MatmulTest, NoRowsTouchNothing) {
  TestWeight weight = make_weight(random_, {65, 64, WeightFormat::kQ4, FloatType::kF32, 64}, 0);
  EXPECT_TRUE(multiply(weight, {}, 0).empty());
}

TEST_P(MatmulTest, BiasAndAccumulateAddExactlyOnce) {
  for (const uint32_t rows : {1u, 7u}) {
    const uint32_t n = 35, k = 96;
    TestWeight weight =
        make_weight(random_, {n, k, WeightFormat::kQ4, FloatType::kF32, 32}, misaligned(1));
    const std::vector<float> x = normals(rows * k), bias = normals(n), before = normals(rows * n);
    const std::vector<float> plain = multiply(weight, x, rows);
    const std::vector<float> with_bias = multiply(weight, x, rows, ops::kMatmulBias, bias);
    const std::vector<float> both =
        multiply(weight, x, rows, ops::kMatmulBias | ops::kMatmulAccumulate, bias, before);
    for (uint32_t i = 0; i < rows * n; ++i) {
      EXPECT_EQ(with_bias[i], plain[i] + bias[i % n]);
      EXPECT_EQ(both[i], plain[i] + bias[i % n] + before[i]);
    }
  }
}

TEST_P(MatmulTest, SampleCountSelectsRows) {
  TestWeight weight = make_weight(random_, {5, 33, WeightFormat::kF32, FloatType::kF32, 0}, 0);
  Step step = Step::of_rows(4);
  step.samples.resize(2);
  std::vector<std::byte> params = step.bytes();
  std::vector<float> x = normals(4 * 33), y(4 * 5, 7.0f);
  const ops::MatmulArgs args{weight.args, ops::RowCount::kSamples, 0};
  run(ops::Op::kMatmul, &args,
      {params.data(), x.data(), weight.data.data(), nullptr, nullptr, nullptr, y.data()});
  expect_near_reference(weight, x, 2, y);
  for (size_t i = 10; i < 20; ++i) EXPECT_EQ(y[i], 7.0f);
}

// The contract that makes greedy output independent of batch composition.
TEST_P(MatmulTest, RowsKeepTheirBitsWhateverTheStepAndTheTasks) {
  struct Case {
    uint32_t n, k;
    WeightFormat format;
    uint32_t group;
  };
  for (const Case c :
       {Case{97, 1152, WeightFormat::kQ4, 64}, Case{50, 2432, WeightFormat::kQ4, 32},
        Case{70, 2304, WeightFormat::kQ8, 128}, Case{37, 1029, WeightFormat::kBF16, 0},
        Case{37, 77, WeightFormat::kF16, 0}, Case{601, 1030, WeightFormat::kF32, 0}}) {
    TestWeight weight =
        make_weight(random_, {c.n, c.k, c.format, FloatType::kF16, c.group}, misaligned(1));
    const uint32_t rows = unless_emulated(260u, 137u);
    const std::vector<float> x = normals(size_t{rows} * c.k);
    const std::vector<float> all = multiply(weight, x, rows);
    for (const uint32_t count : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 13u, 126u, 127u}) {
      for (const uint32_t first : {0u, 11u, 133u}) {
        if (first + count > rows) continue;
        const std::vector<float> part(x.begin() + first * c.k,
                                      x.begin() + size_t{first + count} * c.k);
        const std::vector<float> y =
            multiply(weight, part, count, 0, {}, {}, first == 0 ? 1 : (first == 11 ? 2 : 1u << 30));
        ASSERT_EQ(std::memcmp(y.data(), all.data() + size_t{first} * c.n, y.size() * 4), 0)
            << "format " << static_cast<int>(c.format) << ", rows " << first << " + " << count;
      }
    }
  }
}

// Outliers, zeros and tiny values share blocks with ordinary ones.
TEST_P(MatmulTest, ActivationsOfAllMagnitudesMatchReference) {
  TestWeight weight = make_weight(random_, {40, 448, WeightFormat::kQ4, FloatType::kF32, 64}, 0);
  for (const uint32_t rows : {1u, 9u}) {
    std::vector<float> x = normals(size_t{rows} * 448);
    for (uint32_t r = 0; r < rows; ++r) {
      float* row = x.data() + size_t{r} * 448;
      std::fill(row, row + 64, 0.0f);
      for (uint32_t i = 64; i < 128; ++i) row[i] *= 1e-38f;
      for (uint32_t i = 128; i < 192; ++i) row[i] *= 1e-20f;
      row[200] = -3e4f;
      row[300] = 1e-33f;
      for (uint32_t i = 320; i < 384; ++i) row[i] = i % 2 == 0 ? 5.0f : -5.0f;
    }
    expect_near_reference(weight, x, rows, multiply(weight, x, rows));
  }
}

TEST_P(MatmulTest, QuantizedWeightsPassOnInfinityAndNan) {
  TestWeight weight = make_weight(random_, {20, 192, WeightFormat::kQ4, FloatType::kF32, 64}, 0);
  for (const float bad : {std::nanf(""), INFINITY, -INFINITY}) {
    for (const uint32_t rows : {3u, 9u}) {
      std::vector<float> x = normals(rows * 192);
      x[192 + 100] = bad;
      const std::vector<float> y = multiply(weight, x, rows);
      for (uint32_t i = 0; i < y.size(); ++i) {
        EXPECT_EQ(std::isfinite(y[i]), i / 20 != 1) << "row " << i / 20 << " of " << rows;
      }
    }
  }
}

TEST_P(MatmulTest, NanStaysInItsRowAndOutput) {
  const uint32_t n = 20, k = 64;
  TestWeight weight = make_weight(random_, {n, k, WeightFormat::kF32, FloatType::kF32, 0}, 0);
  store_float(weight.data.data(), FloatType::kF32, 3 * k + 5, std::nanf(""));
  for (const uint32_t rows : {2u, 9u}) {
    std::vector<float> x = normals(rows * k);
    x[k + 7] = std::nanf("");
    const std::vector<float> y = multiply(weight, x, rows);
    for (uint32_t r = 0; r < rows; ++r) {
      for (uint32_t i = 0; i < n; ++i) {
        EXPECT_EQ(std::isnan(y[r * n + i]), r == 1 || i == 3) << r << ", " << i;
      }
    }
  }
}

KR_INSTANTIATE_TARGETS(MatmulTest);

}  // namespace
}  // namespace krserve::kernels
