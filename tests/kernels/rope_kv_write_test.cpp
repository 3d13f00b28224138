#include "kernels/ops/rope_kv_write.h"

#include <cmath>

#include "kernels/kernel_test.h"
#include "kernels/kv_cache.h"

namespace krserve::kernels {
namespace {

using ops::FloatType;

class RopeKvWriteTest : public KernelTest {
 protected:
  // Normalizes if there is a weight, then rotates by angles position / base^(2 i / dim).
  static std::vector<double> rotated(const float* x, uint32_t dim, uint32_t position,
                                     const std::vector<float>& norm, float eps) {
    std::vector<double> v(x, x + dim);
    if (!norm.empty()) {
      double squares = 0;
      for (const double e : v) squares += e * e;
      for (uint32_t i = 0; i < dim; ++i) v[i] *= norm[i] / std::sqrt(squares / dim + eps);
    }
    std::vector<double> out(dim);
    for (uint32_t i = 0; i < dim / 2; ++i) {
      const double angle = position * std::pow(10000.0, -2.0 * i / dim);
      out[i] = v[i] * std::cos(angle) - v[i + dim / 2] * std::sin(angle);
      out[i + dim / 2] = v[i + dim / 2] * std::cos(angle) + v[i] * std::sin(angle);
    }
    return out;
  }

  static std::vector<float> rope_table(uint32_t positions, uint32_t dim) {
    std::vector<float> table;
    for (uint32_t p = 0; p < positions; ++p) {
      for (int part = 0; part < 2; ++part) {
        for (uint32_t i = 0; i < dim / 2; ++i) {
          const double angle = p * std::pow(10000.0, -2.0 * i / dim);
          table.push_back(static_cast<float>(part == 0 ? std::cos(angle) : std::sin(angle)));
        }
      }
    }
    return table;
  }

  void check(FloatType type, uint32_t dim, bool qk_norm) {
    SCOPED_TRACE(testing::Message()
                 << "type " << static_cast<int>(type) << " dim " << dim << " norm " << qk_norm);
    const uint32_t heads = 6, kv_heads = 2;
    TestKvCache cache(type, dim, kv_heads);
    Step step;
    step.pages = cache.page_list(3);
    step.rows = {{0, 0, 0, 0, 0}, {0, 4, 0, 0, 0}, {0, 5, 0, 0, 0}, {0, 13, 0, 0, 0}};
    const auto rows = static_cast<uint32_t>(step.rows.size());
    const std::vector<float> q = normals(rows * heads * dim), k = normals(rows * kv_heads * dim),
                             v = normals(rows * kv_heads * dim), q_norm = normals(dim),
                             k_norm = normals(dim);
    std::vector<float> q_out = q, table = rope_table(16, dim);
    std::vector<std::byte> params = step.bytes();
    const ops::RopeKvWriteArgs args{cache.layout(), step.layout(), heads, qk_norm ? 1u : 0u, 1e-6f};
    std::vector<void*> buffers = {params.data(),
                                  q_out.data(),
                                  const_cast<float*>(k.data()),
                                  const_cast<float*>(v.data()),
                                  table.data(),
                                  qk_norm ? const_cast<float*>(q_norm.data()) : nullptr,
                                  qk_norm ? const_cast<float*>(k_norm.data()) : nullptr};
    cache.append_segments(buffers);
    run(ops::Op::kRopeKvWrite, &args, buffers, 1);

    const double tolerance =
        type == FloatType::kF32 ? 2e-6 : (type == FloatType::kF16 ? 1e-3 : 8e-3);
    size_t written = 0;
    for (uint32_t r = 0; r < rows; ++r) {
      const uint32_t position = step.rows[r].position;
      for (uint32_t h = 0; h < heads; ++h) {
        const size_t at = (size_t{r} * heads + h) * dim;
        const auto expected =
            rotated(q.data() + at, dim, position, qk_norm ? q_norm : std::vector<float>{}, 1e-6f);
        for (uint32_t i = 0; i < dim; ++i) ASSERT_NEAR(q_out[at + i], expected[i], 4e-6);
      }
      for (uint32_t h = 0; h < kv_heads; ++h) {
        const size_t at = (size_t{r} * kv_heads + h) * dim;
        const auto expected =
            rotated(k.data() + at, dim, position, qk_norm ? k_norm : std::vector<float>{}, 1e-6f);
        for (uint32_t i = 0; i < dim; ++i) {
          ASSERT_NEAR(cache.get(step.pages, position, 0, h, i), expected[i],
                      tolerance * std::max(1.0, std::fabs(expected[i])));
          uint8_t rounded[4];
          store_float(rounded, type, 0, v[at + i]);
          ASSERT_EQ(cache.get(step.pages, position, 1, h, i), read_float(rounded, type, 0));
          written += 2;
        }
      }
    }
    EXPECT_EQ(cache.changed_elements(), written);
  }
};

TEST_P(RopeKvWriteTest, MatchesTheFormulaForAllTypesAndDims) {
  for (const FloatType type : {FloatType::kF32, FloatType::kF16, FloatType::kBF16}) {
    for (const uint32_t dim : {6u, 16u, 64u, 80u, 128u}) {
      check(type, dim, false);
      check(type, dim, true);
    }
  }
}

TEST_P(RopeKvWriteTest, ValuesAreRoundedToNearestEven) {
  // Through v, which is only converted: ties, subnormals, overflow, infinity and NaN.
  std::vector<float> v = {1.00048828125f, 1.00146484375f, 65519.0f,   65520.0f, 6.1e-5f, 5.97e-8f,
                          2.9e-8f,        -0.0f,          INFINITY,   -1e30f,   0.333f,  NAN,
                          1.0078125f,     1.01171875f,    3.3895e38f, 1e-40f};
  const auto dim = static_cast<uint32_t>(v.size());
  for (const FloatType type : {FloatType::kF16, FloatType::kBF16}) {
    TestKvCache cache(type, dim, 1);
    Step step;
    step.pages = cache.page_list(1);
    step.rows = {{0, 0, 0, 0, 0}};
    std::vector<float> q(dim, 0.0f), k(dim, 0.0f), table = rope_table(1, dim);
    std::vector<std::byte> params = step.bytes();
    const ops::RopeKvWriteArgs args{cache.layout(), step.layout(), 1, 0, 0};
    std::vector<void*> buffers = {params.data(), q.data(), k.data(), v.data(),
                                  table.data(),  nullptr,  nullptr};
    cache.append_segments(buffers);
    run(ops::Op::kRopeKvWrite, &args, buffers);
    for (uint32_t i = 0; i < dim; ++i) {
      uint8_t rounded[4];
      store_float(rounded, type, 0, v[i]);
      const float expected = read_float(rounded, type, 0);
      const float actual = cache.get(step.pages, 0, 1, 0, i);
      if (std::isnan(expected)) {
        EXPECT_TRUE(std::isnan(actual));
      } else {
        EXPECT_EQ(actual, expected) << v[i];
        EXPECT_EQ(std::signbit(actual), std::signbit(expected)) << v[i];
      }
    }
  }
}

KR_INSTANTIATE_TARGETS(RopeKvWriteTest);

}  // namespace
}  // namespace krserve::kernels
