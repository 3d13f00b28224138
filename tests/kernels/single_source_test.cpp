// What only the single-source kernels promise: the same bits in every schedule, the tokens that the
// CPU draws, and launches that fit the dispatch.
#include <algorithm>
#include <cmath>

#include "kernels/dialect/simt.h"
#include "kernels/entry/simt_kernels.h"
#include "kernels/kernel_test.h"
#include "kernels/kv_cache.h"
#include "kernels/ops/embed_rows.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/paged_attention.h"
#include "kernels/ops/read_bandwidth.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/sample.h"
#include "kernels/ops/silu_mul.h"
#include "kernels/single_source/launch.h"
#include "kernels/single_source/philox.h"

namespace krserve::kernels {
namespace {

using namespace single_source;
using ops::FloatType;
using ops::Op;
using ops::SampleRow;
using ops::WeightFormat;

class SingleSourceTest : public ::testing::Test {
 protected:
  std::vector<float> normals(size_t count, float scale = 1.0f) {
    std::normal_distribution<float> normal(0.0f, scale);
    std::vector<float> values(count);
    for (float& v : values) v = normal(random_);
    return values;
  }

  static SampleRow row_of(uint32_t counter) {
    SampleRow row{};
    row.counter = counter;
    row.seed_low = 77;
    row.seed_high = 0xfeed;
    row.temperature = 1;
    row.top_p = 1;
    row.repetition_penalty = 1;
    return row;
  }

  struct Sampled {
    std::vector<int32_t> tokens;
    std::vector<uint16_t> counts;
    bool operator==(const Sampled&) const = default;
  };

  // Samples from rows of logits; sample i has slot i. On the emulator with a seed, on the CPU
  // without.
  Sampled sample(std::vector<float> logits, uint32_t vocab, std::vector<SampleRow> rows,
                 std::vector<uint16_t> counts, uint64_t seed,
                 const std::vector<ops::LogitBias>& biases = {}, DialectLimits limits = {}) {
    Step step;
    step.biases = biases;
    for (uint32_t i = 0; i < rows.size(); ++i) rows[i].slot = i;
    step.samples = std::move(rows);
    std::vector<std::byte> params = step.bytes();
    std::vector<int32_t> last(step.samples.size());
    Sampled result{std::vector<int32_t>(step.samples.size(), -99), std::move(counts)};
    const ops::SampleArgs args{step.layout(), vocab};
    std::vector<void*> buffers = {params.data(), logits.data(), result.counts.data(), last.data(),
                                  result.tokens.data()};
    if (seed != 0) {
      emulate(Op::kSample, &args, buffers, seed, workspace_, 0, limits);
    } else {
      const CpuKernel& kernel =
          cpu_kernel_table(SimdLevel::kPortable).kernels[static_cast<uint32_t>(Op::kSample)];
      Scratch scratch;
      kernel.run({&args, buffers.data()}, 0, static_cast<uint32_t>(last.size()), scratch);
    }
    EXPECT_EQ(last, result.tokens);
    return result;
  }

  std::mt19937 random_{99};
  std::vector<std::byte> workspace_;
};

TEST_F(SingleSourceTest, DrawsAreTheCpusTokens) {
  struct Filter {
    uint32_t top_k;
    float top_p, min_p, temperature;
  };
  uint32_t counter = 0;
  for (const uint32_t vocab : {300u, 5003u, 20001u}) {
    for (const Filter f :
         {Filter{0, 1, 0, 1}, Filter{0, 1, 0.02f, 0.7f}, Filter{40, 1, 0, 1}, Filter{0, 0.9f, 0, 1},
          Filter{50, 0.95f, 0.01f, 1.4f}, Filter{0, 0.999f, 0, 8}, Filter{200, 1, 0, 30},
          Filter{0, 0.3f, 0, 100}}) {
      constexpr uint32_t kRows = 4;
      const std::vector<float> logits = normals(size_t{vocab} * kRows, 2.5f);
      std::vector<SampleRow> rows;
      for (uint32_t i = 0; i < kRows; ++i) {
        rows.push_back(row_of(++counter));
        rows.back().top_k = f.top_k;
        rows.back().top_p = f.top_p;
        rows.back().min_p = f.min_p;
        rows.back().temperature = f.temperature;
        if (i % 2 == 0) continue;
        rows.back().flags = ops::kSamplePenalties;
        rows.back().repetition_penalty = 1.3f;
        rows.back().frequency_penalty = 0.2f;
        rows.back().presence_penalty = 0.1f;
      }
      std::vector<uint16_t> counts(size_t{vocab} * kRows);
      for (uint16_t& count : counts) {
        count =
            random_() % 7 == 0 ? static_cast<uint16_t>(random_() % 4 | (random_() % 2) << 15) : 0;
      }
      const Sampled cpu = sample(logits, vocab, rows, counts, 0);
      const Sampled emulated = sample(logits, vocab, rows, counts, counter);
      EXPECT_EQ(emulated.tokens, cpu.tokens)
          << "vocab " << vocab << " k " << f.top_k << " p " << f.top_p << " t " << f.temperature;
      EXPECT_EQ(emulated.counts, cpu.counts);
    }
  }
}

TEST_F(SingleSourceTest, DrawsDoNotDependOnTheSchedule) {
  const uint32_t vocab = 20001;  // three threadgroups a row
  const std::vector<float> logits = normals(vocab * 3, 1.5f);
  std::vector<SampleRow> rows = {row_of(1), row_of(2), row_of(3)};
  rows[0].top_p = 0.8f;
  rows[1].flags = ops::kSamplePenalties | ops::kSampleGreedy;
  rows[1].presence_penalty = 3;
  rows[2].top_k = 700;
  rows[2].temperature = 5;
  std::vector<uint16_t> counts(vocab * 3);
  for (uint16_t& count : counts) count = random_() % 2;
  std::vector<ops::LogitBias> biases;
  for (uint32_t id = 0; id < vocab; id += 13) biases.push_back({id, normals(1, 3.0f)[0]});
  rows[0].num_biases = static_cast<uint32_t>(biases.size());
  rows[1].biases_begin = 500;
  rows[1].num_biases = 900;
  const Sampled first = sample(logits, vocab, rows, counts, 1, biases);
  for (uint64_t seed = 2; seed < 12; ++seed) {
    EXPECT_EQ(sample(logits, vocab, rows, counts, seed, biases), first) << "seed " << seed;
  }
  EXPECT_EQ(sample(logits, vocab, rows, counts, 1, biases, {.hand_over = false}), first);
}

// More tokens of one logit than are ranked at once: the cut is found by id.
TEST_F(SingleSourceTest, CutsAmongManyTiesAreByToken) {
  const uint32_t vocab = 6000;
  std::vector<float> logits(vocab, 1.0f);
  logits[5900] = 1.25f;
  for (const bool by_count : {true, false}) {
    SampleRow row = row_of(0);
    // The first 2999 of the equal ones and 5900 beside them.
    if (by_count) row.top_k = 3000;
    if (!by_count) row.top_p = (2998.5f + std::exp(0.25f)) / (5999.0f + std::exp(0.25f));
    int32_t highest = 0;
    for (uint32_t batch = 0; batch < 10; ++batch) {
      std::vector<float> all;
      std::vector<SampleRow> rows;
      for (uint32_t i = 0; i < 8; ++i) {
        all.insert(all.end(), logits.begin(), logits.end());
        row.counter = batch * 8 + i;
        rows.push_back(row);
      }
      const Sampled cpu = sample(all, vocab, rows, {}, 0);
      EXPECT_EQ(sample(all, vocab, rows, {}, batch + 1).tokens, cpu.tokens);
      for (const int32_t token : cpu.tokens) {
        if (token != 5900) highest = std::max(highest, token);
      }
    }
    EXPECT_LT(highest, 2999);
    EXPECT_GT(highest, 2800);
  }
}

TEST_F(SingleSourceTest, ResultsHaveTheSameBitsInEverySchedule) {
  const uint32_t dim = 1030;
  TestWeight weight = make_weight(random_, {70, 1152, WeightFormat::kQ4, FloatType::kF16, 64}, 0);
  std::vector<float> x = normals(10 * 1152), norm = normals(dim);
  TestKvCache cache(FloatType::kBF16, 64, 2);
  Step step = Step::of_rows(5);
  step.pages = cache.page_list(60);
  for (uint32_t p = 0; p < 300; ++p) {
    for (uint32_t i = 0; i < 256; ++i) {
      cache.set(step.pages, p, i / 128, i / 64 % 2, i % 64, normals(1)[0]);
    }
  }
  for (uint32_t r = 0; r < 5; ++r) step.rows[r].position = 299 - 60 * r;
  std::vector<std::byte> params = step.bytes();
  std::vector<uint32_t> data(50000);
  for (uint32_t& word : data) word = static_cast<uint32_t>(random_());

  const auto results = [&](uint64_t seed, DialectLimits limits = {}) {
    std::vector<float> y(10 * 70), normed(5 * dim), attended(5 * 6 * 64), sums(7);
    const ops::MatmulArgs matmul{weight.args, ops::RowCount::kRows, 0};
    emulate(Op::kMatmul, &matmul,
            {params.data(), x.data(), weight.data.data(), weight.scales.data(),
             weight.biases.data(), nullptr, y.data()},
            seed, workspace_, static_cast<uint32_t>(seed % 3));
    const ops::RmsNormArgs rms{dim, 1e-6f, ops::RowCount::kRows};
    emulate(Op::kRmsNorm, &rms, {params.data(), x.data(), norm.data(), normed.data()}, seed,
            workspace_);
    const ops::PagedAttentionArgs attention{cache.layout(), step.layout(), 6, 0.125f};
    std::vector<void*> buffers = {params.data(), x.data(), attended.data()};
    cache.append_segments(buffers);
    emulate(Op::kPagedAttention, &attention, buffers, seed, workspace_, 0, limits);
    const ops::ReadBandwidthArgs read{data.size() * 4, 32768};
    emulate(Op::kReadBandwidth, &read, {data.data(), sums.data()}, seed, workspace_);
    for (const auto& part : {normed, attended, sums}) y.insert(y.end(), part.begin(), part.end());
    return y;
  };
  const std::vector<float> first = results(1);
  EXPECT_TRUE(std::all_of(first.begin(), first.end(), [](float v) { return std::isfinite(v); }));
  for (uint64_t seed = 2; seed < 10; ++seed) {
    const std::vector<float> again = results(seed);
    ASSERT_EQ(std::memcmp(again.data(), first.data(), first.size() * 4), 0) << "seed " << seed;
  }
  const std::vector<float> alone = results(1, {.hand_over = false});
  EXPECT_EQ(std::memcmp(alone.data(), first.data(), first.size() * 4), 0);
}

TEST_F(SingleSourceTest, ProductsOfLongIntegersAreExact) {
  std::mt19937_64 random(5);
  for (int i = 0; i < 10000; ++i) {
    const uint64_t a = random() >> (i % 40 + 2), b = random() >> (i % 23 + 11);
    for (const uint32_t shift : {40u, 53u}) {
      __extension__ using Wide = unsigned __int128;
      const Wide product = static_cast<Wide>(a) * b;
      if (product >> shift >> 64 != 0) continue;
      const auto down = static_cast<uint64_t>(product >> shift);
      const bool rest = (static_cast<Wide>(down) << shift) != product;
      ASSERT_EQ(scaled_product(a, b, shift, false), down);
      ASSERT_EQ(scaled_product(a, b, shift, true), down + (rest ? 1 : 0));
    }
  }
}

// Launches.

template <class Args>
GpuDispatch dispatch_of(Op op, const Args& args) {
  GpuDispatch dispatch;
  dispatch.op = op;
  std::memcpy(dispatch.args, &args, sizeof(args));
  return dispatch;
}

GpuLaunch launch_of(const GpuDispatch& dispatch) {
  std::vector<std::byte> workspace(dialect_workspace_bytes(dispatch));
  return dialect_launch(dispatch, workspace.data(), simt_dialect_kernel);
}

std::string kernel_name(const GpuLaunch& launch) {
  return static_cast<const SimtKernel*>(launch.kernel)->name;
}

TEST(DialectLaunch, GridsCoverTheCapacityAndNothingElse) {
  GpuDispatch norm = dispatch_of(Op::kRmsNorm, ops::RmsNormArgs{100, 1e-5f, {}});
  norm.bytes[1] = 100 * 4 * 7 + 396;  // seven rows and most of another
  EXPECT_EQ(launch_of(norm).grid.x, 7u);
  norm.bytes[1] = 0;
  EXPECT_EQ(launch_of(norm).grid.x, 1u);
  const auto layout = ops::step_layout(37, 5);
  EXPECT_EQ(launch_of(dispatch_of(Op::kEmbedRows, ops::EmbedRowsArgs{{}, layout})).grid.x, 37u);
  const GpuLaunch sample = launch_of(dispatch_of(Op::kSample, ops::SampleArgs{layout, 152000}));
  EXPECT_EQ(sample.grid.x, 5u);
  EXPECT_EQ(sample.grid.y, (152000u + kSampleSlice - 1) / kSampleSlice);
  EXPECT_STREQ(sample.name, "sample");
}

TEST(DialectLaunch, MatmulTakesTheKernelOfItsFormatAndCapacity) {
  ops::MatmulArgs args{{50, 64, WeightFormat::kQ8, FloatType::kBF16, 64}, {}, 0};
  GpuDispatch matmul = dispatch_of(Op::kMatmul, args);
  matmul.bytes[1] = 64 * 4;
  EXPECT_EQ(kernel_name(launch_of(matmul)), "kr_matmul_Q8BF16_1");
  matmul.bytes[1] = 64 * 4 * 9;
  EXPECT_EQ(kernel_name(launch_of(matmul)), "kr_matmul_Q8BF16_8");
  EXPECT_EQ(launch_of(matmul).grid.x, 2u);
  EXPECT_EQ(launch_of(matmul).grid.y, 4u);
  EXPECT_EQ(dialect_workspace_bytes(matmul), 0u);
}

TEST(DialectLaunch, AttentionSharesRowsOnlyWhereThereAreFew) {
  const auto attention = [](uint32_t rows) {
    const ops::KvLayout kv{1 << 20, 16, 4, 4, 128, FloatType::kF16, 0};
    return dispatch_of(Op::kPagedAttention,
                       ops::PagedAttentionArgs{kv, ops::step_layout(rows, rows), 28, 0.1f});
  };
  EXPECT_EQ(kernel_name(launch_of(attention(1))), "kr_attention_F16_128_8");
  EXPECT_EQ(launch_of(attention(1)).grid.z, kAttentionChunks);
  EXPECT_EQ(launch_of(attention(32)).grid.z, 2u);
  EXPECT_EQ(launch_of(attention(64)).grid.z, 1u);
  EXPECT_EQ(dialect_workspace_bytes(attention(64)), 0u);
  EXPECT_EQ(
      dialect_workspace_bytes(attention(1)),
      kWorkspaceDataOffset + uint64_t{4} * kAttentionChunks * attention_partial_floats(8, 128) * 4);
}

TEST(DialectLaunch, WithoutHandOverARowIsOneThreadgroups) {
  const ops::KvLayout kv{1 << 20, 16, 4, 4, 128, FloatType::kF16, 0};
  const auto layout = ops::step_layout(1, 1);
  for (const GpuDispatch& dispatch :
       {dispatch_of(Op::kPagedAttention, ops::PagedAttentionArgs{kv, layout, 28, 0.1f}),
        dispatch_of(Op::kSample, ops::SampleArgs{layout, 152000})}) {
    EXPECT_GT(dialect_workspace_bytes(dispatch), 0u);
    EXPECT_EQ(dialect_workspace_bytes(dispatch, {.hand_over = false}), 0u);
    const GpuLaunch launch =
        dialect_launch(dispatch, nullptr, simt_dialect_kernel, {.hand_over = false});
    EXPECT_EQ(launch.grid.x * launch.grid.z, 1u);
    EXPECT_EQ(launch.grid.y, dispatch.op == Op::kSample ? 1u : 4u);
  }
}

TEST(DialectLaunch, WhatNoKernelCanDoIsRefused) {
  const auto layout = ops::step_layout(1, 1);
  ops::MatmulArgs matmul{{8, 96, WeightFormat::kQ4, FloatType::kF32, 48}, {}, 0};
  EXPECT_THROW(dialect_workspace_bytes(dispatch_of(Op::kMatmul, matmul)), UnsupportedDispatch);
  for (const uint32_t dim : {7u, 258u}) {
    const ops::KvLayout kv{1 << 20, 16, 4, 2, dim, FloatType::kF16, 0};
    EXPECT_THROW(
        launch_of(dispatch_of(Op::kPagedAttention, ops::PagedAttentionArgs{kv, layout, 4, 0.1f})),
        UnsupportedDispatch);
  }
  EXPECT_THROW(launch_of(dispatch_of(Op::kSample, ops::SampleArgs{layout, kSampleMaxVocab + 1})),
               UnsupportedDispatch);
  EXPECT_THROW(launch_of(GpuDispatch{}), UnsupportedDispatch);
}

TEST(DialectLaunch, EveryKernelIsNamedAndFits) {
  for (uint32_t id = 0; id < kKernelCount; ++id) {
    const auto* kernel =
        static_cast<const SimtKernel*>(simt_dialect_kernel(static_cast<KernelId>(id)));
    EXPECT_EQ(std::string(kernel->name).substr(0, 3), "kr_");
    EXPECT_EQ(kernel->max_threads % 32, 0u);
  }
  EXPECT_EQ(
      kernel_name(launch_of(dispatch_of(Op::kReadBandwidth, ops::ReadBandwidthArgs{128, 64}))),
      "kr_read_bandwidth");
}

}  // namespace
}  // namespace krserve::kernels
