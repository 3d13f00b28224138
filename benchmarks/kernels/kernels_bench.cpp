// Micro-benchmarks of the CPU kernels on one core, at the machine's best SIMD level (or the one
// that KRSERVE_BENCH_SIMD names: portable, avx2, avx512, avx512_vnni).
//
// Matmul cycles through copies of the weights that together exceed the caches, so that GB/s of
// weights is a rate from memory. "fma_peak" measures what the GMAC/s figures can be compared with.
#include <benchmark/benchmark.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string_view>
#include <vector>

#include "kernels/cpu_kernels.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/paged_attention.h"
#include "kernels/ops/read_bandwidth.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/sample.h"
#include "kernels/ops/silu_mul.h"

namespace krserve::kernels {
namespace {

constexpr size_t kCacheBytes = size_t{256} << 20;

SimdLevel bench_level() {
  const char* wanted = std::getenv("KRSERVE_BENCH_SIMD");
  for (const SimdLevel level : kAllSimdLevels) {
    if (wanted != nullptr && to_string(level) == wanted && simd_level_supported(level))
      return level;
  }
  return detect_simd_level();
}

void run_op(ops::Op op, const void* args, const std::vector<void*>& buffers, Scratch& scratch) {
  static const CpuKernelTable& table = cpu_kernel_table(bench_level());
  const CpuKernel& kernel = table.kernels[static_cast<uint32_t>(op)];
  const Call call{args, buffers.data()};
  kernel.run(call, 0, kernel.task_count(call), scratch);
}

std::vector<std::byte> step_bytes(const std::vector<ops::StepRow>& rows,
                                  const std::vector<ops::SampleRow>& samples,
                                  const std::vector<uint32_t>& pages, ops::StepLayout& layout) {
  layout =
      ops::step_layout(static_cast<uint32_t>(rows.size()), static_cast<uint32_t>(samples.size()));
  std::vector<std::byte> bytes(layout.pages_offset + pages.size() * 4 + 4);
  const ops::StepHeader header{static_cast<uint32_t>(rows.size()),
                               static_cast<uint32_t>(samples.size()),
                               static_cast<uint32_t>(pages.size()), 0};
  const auto put = [&](size_t at, const void* from, size_t size) {
    if (size > 0) std::memcpy(bytes.data() + at, from, size);
  };
  put(0, &header, sizeof(header));
  put(layout.rows_offset, rows.data(), rows.size() * sizeof(ops::StepRow));
  put(layout.samples_offset, samples.data(), samples.size() * sizeof(ops::SampleRow));
  put(layout.pages_offset, pages.data(), pages.size() * sizeof(uint32_t));
  return bytes;
}

std::vector<float> normals(size_t count) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& v : values) v = normal(random);
  return values;
}

void matmul(benchmark::State& state, ops::WeightFormat format) {
  const auto n = static_cast<uint32_t>(state.range(0)), k = static_cast<uint32_t>(state.range(1));
  const auto rows = static_cast<uint32_t>(state.range(2));
  const bool quantized = format == ops::WeightFormat::kQ4 || format == ops::WeightFormat::kQ8;
  const uint32_t bits = format == ops::WeightFormat::kQ4 ? 4 : (quantized ? 8 : 16);
  const ops::WeightArgs weight{n, k, format, ops::FloatType::kF16, 64};
  const size_t bytes = size_t{n} * k * bits / 8;
  const size_t group_bytes = quantized ? size_t{n} * k / 64 * 2 : 0;
  const size_t copies = 1 + kCacheBytes / (bytes + 2 * group_bytes);
  std::vector<uint32_t> data(copies * bytes / 4, 0x35a71c24);
  std::vector<uint16_t> scales(copies * group_bytes / 2, 0x2e66), biases = scales;
  std::vector<float> x = normals(size_t{rows} * k), y(size_t{rows} * n);
  ops::StepLayout layout{};
  auto params = step_bytes(std::vector<ops::StepRow>(rows), {}, {}, layout);
  const ops::MatmulArgs args{weight, ops::RowCount::kRows, 0};
  Scratch scratch;
  size_t copy = 0;
  for (auto _ : state) {
    run_op(ops::Op::kMatmul, &args,
           {params.data(), x.data(), data.data() + copy * bytes / 4,
            scales.data() + copy * group_bytes / 2, biases.data() + copy * group_bytes / 2, nullptr,
            y.data()},
           scratch);
    benchmark::DoNotOptimize(y.data());
    copy = (copy + 1) % copies;
  }
  const auto iterations = static_cast<double>(state.iterations());
  state.counters["GB/s"] = benchmark::Counter(
      iterations * static_cast<double>(bytes + 2 * group_bytes) / 1e9, benchmark::Counter::kIsRate);
  state.counters["GMAC/s"] =
      benchmark::Counter(iterations * n * k * rows / 1e9, benchmark::Counter::kIsRate);
}

void q4_matmul(benchmark::State& state) {
  matmul(state, ops::WeightFormat::kQ4);
}
void q8_matmul(benchmark::State& state) {
  matmul(state, ops::WeightFormat::kQ8);
}
void bf16_matmul(benchmark::State& state) {
  matmul(state, ops::WeightFormat::kBF16);
}

BENCHMARK(q4_matmul)
    ->ArgNames({"n", "k", "rows"})
    ->ArgsProduct({{896}, {896}, {1, 8, 64, 512}})
    ->ArgsProduct({{4864}, {896}, {1, 2, 3, 4, 8, 64, 512}})
    ->ArgsProduct({{896}, {4864}, {1, 8, 64, 512}})
    ->ArgsProduct({{151936}, {896}, {1, 8, 64, 512}});
BENCHMARK(q8_matmul)->ArgNames({"n", "k", "rows"})->ArgsProduct({{4864}, {896}, {1, 8, 64}});
BENCHMARK(bf16_matmul)->ArgNames({"n", "k", "rows"})->ArgsProduct({{4864}, {896}, {1, 8, 64}});

// Qwen2.5-0.5B's shape: 14 query heads, 2 kv heads, 64 wide, f16 cache in pages of 16 tokens.
void attention(benchmark::State& state, uint32_t first_position, uint32_t rows) {
  const uint32_t heads = 14, kv_heads = 2, dim = 64, page_tokens = 16;
  const uint32_t context = first_position + rows;
  const uint32_t pages_per_copy = (context + page_tokens - 1) / page_tokens;
  ops::KvLayout kv{0, page_tokens, 31, kv_heads, dim, ops::FloatType::kF16, 0};
  kv.page_bytes = 2 * ops::kv_plane_bytes(kv);
  const uint32_t copies =
      rows > 1 ? 1 : static_cast<uint32_t>(1 + kCacheBytes / (kv.page_bytes * pages_per_copy));
  std::vector<uint16_t> cache(kv.page_bytes / 2 * pages_per_copy * copies, 0x3123);
  std::vector<uint32_t> pages(pages_per_copy * copies);
  for (uint32_t i = 0; i < pages.size(); ++i) pages[i] = i;
  std::vector<std::vector<std::byte>> params;
  ops::StepLayout layout{};
  for (uint32_t c = 0; c < copies; ++c) {
    std::vector<ops::StepRow> step_rows(rows);
    for (uint32_t r = 0; r < rows; ++r) {
      step_rows[r] = {0, first_position + r, 0, c * pages_per_copy, 0};
    }
    params.push_back(step_bytes(step_rows, {}, pages, layout));
  }
  std::vector<float> q = normals(size_t{rows} * heads * dim), out(q.size());
  const ops::PagedAttentionArgs args{kv, layout, heads, 0.125f};
  Scratch scratch;
  size_t copy = 0;
  for (auto _ : state) {
    run_op(ops::Op::kPagedAttention, &args,
           {params[copy].data(), q.data(), out.data(), cache.data()}, scratch);
    benchmark::DoNotOptimize(out.data());
    copy = (copy + 1) % copies;
  }
  const auto iterations = static_cast<double>(state.iterations());
  const double bytes = 4.0 * kv_heads * dim * context;
  const double pairs = rows * (first_position + (rows + 1) / 2.0);
  state.counters["GB/s"] =
      benchmark::Counter(iterations * bytes / 1e9, benchmark::Counter::kIsRate);
  state.counters["GMAC/s"] =
      benchmark::Counter(iterations * pairs * heads * dim * 2 / 1e9, benchmark::Counter::kIsRate);
}

void attention_decode(benchmark::State& state) {
  attention(state, static_cast<uint32_t>(state.range(0)) - 1, 1);
}
BENCHMARK(attention_decode)->ArgName("context")->Arg(512)->Arg(2048);

void attention_prefill(benchmark::State& state) {
  attention(state, 0, static_cast<uint32_t>(state.range(0)));
}
BENCHMARK(attention_prefill)->ArgName("tokens")->Arg(512);

void sample(benchmark::State& state, bool greedy, uint32_t top_k, float top_p, float spread) {
  const uint32_t vocab = 151936;
  ops::SampleRow row{};
  if (greedy) row.flags = ops::kSampleGreedy;
  row.temperature = 0.8f;
  row.top_k = top_k;
  row.top_p = top_p;
  row.repetition_penalty = 1;
  ops::StepLayout layout{};
  auto params = step_bytes({}, {row}, {}, layout);
  std::vector<float> logits = normals(vocab);
  for (float& v : logits) v *= spread;
  std::vector<float> work = logits;
  int32_t last_token = 0, sampled = 0;
  const ops::SampleArgs args{layout, vocab};
  Scratch scratch;
  for (auto _ : state) {
    std::memcpy(work.data(), logits.data(), vocab * sizeof(float));  // as fresh from the matmul
    run_op(ops::Op::kSample, &args, {params.data(), work.data(), nullptr, &last_token, &sampled},
           scratch);
    benchmark::DoNotOptimize(sampled);
  }
}
BENCHMARK_CAPTURE(sample, greedy, true, 0, 1.0f, 2.5f);
BENCHMARK_CAPTURE(sample, unfiltered, false, 0, 1.0f, 2.5f);
BENCHMARK_CAPTURE(sample, top_p, false, 0, 0.95f, 2.5f);
BENCHMARK_CAPTURE(sample, top_p_flat_logits, false, 0, 0.95f, 0.1f);
BENCHMARK_CAPTURE(sample, top_k_top_p, false, 50, 0.95f, 2.5f);

void silu_mul(benchmark::State& state) {
  std::vector<float> gate = normals(4864), up = normals(4864);
  ops::StepLayout layout{};
  auto params = step_bytes(std::vector<ops::StepRow>(1), {}, {}, layout);
  const ops::SiluMulArgs args{4864, ops::RowCount::kRows};
  Scratch scratch;
  for (auto _ : state) {
    run_op(ops::Op::kSiluMul, &args, {params.data(), gate.data(), up.data()}, scratch);
  }
}
BENCHMARK(silu_mul);

void rms_norm(benchmark::State& state) {
  std::vector<float> x = normals(896), weight = normals(896), y(896);
  ops::StepLayout layout{};
  auto params = step_bytes(std::vector<ops::StepRow>(1), {}, {}, layout);
  const ops::RmsNormArgs args{896, 1e-6f, ops::RowCount::kRows};
  Scratch scratch;
  for (auto _ : state) {
    run_op(ops::Op::kRmsNorm, &args, {params.data(), x.data(), weight.data(), y.data()}, scratch);
  }
}
BENCHMARK(rms_norm);

void read_bandwidth(benchmark::State& state) {
  std::vector<std::byte> data(kCacheBytes, std::byte{1});
  std::vector<float> sums(kCacheBytes >> 20);
  const ops::ReadBandwidthArgs args{data.size(), 1u << 20};
  Scratch scratch;
  for (auto _ : state) {
    run_op(ops::Op::kReadBandwidth, &args, {data.data(), sums.data()}, scratch);
  }
  state.counters["GB/s"] = benchmark::Counter(
      static_cast<double>(state.iterations()) * kCacheBytes / 1e9, benchmark::Counter::kIsRate);
}
BENCHMARK(read_bandwidth);

#if defined(__x86_64__)
__attribute__((target("avx512f"))) void fma_chains_avx512(float* out, size_t steps) {
  __m512 acc[12];
  const __m512 factor = _mm512_set1_ps(0.5f);
  for (__m512& a : acc) a = factor;
  for (size_t i = 0; i < steps; ++i) {
#pragma GCC unroll 12
    for (__m512& a : acc) a = _mm512_fmadd_ps(a, factor, factor);
  }
  for (const __m512& a : acc) *out += a[0];
}

__attribute__((target("avx2,fma"))) void fma_chains_avx2(float* out, size_t steps) {
  __m256 acc[12];
  const __m256 factor = _mm256_set1_ps(0.5f);
  for (__m256& a : acc) a = factor;
  for (size_t i = 0; i < steps; ++i) {
#pragma GCC unroll 12
    for (__m256& a : acc) a = _mm256_fmadd_ps(a, factor, factor);
  }
  for (const __m256& a : acc) *out += a[0];
}

void fma_peak(benchmark::State& state) {
  const SimdLevel level = bench_level();
  if (level == SimdLevel::kPortable) return state.SkipWithError("needs AVX2 or AVX-512");
  const size_t steps = 100000;
  float out = 0;
  for (auto _ : state) {
    (level >= SimdLevel::kAvx512 ? fma_chains_avx512 : fma_chains_avx2)(&out, steps);
    benchmark::DoNotOptimize(out);
  }
  const double macs = 12.0 * static_cast<double>(steps) * (level >= SimdLevel::kAvx512 ? 16 : 8);
  state.counters["GMAC/s"] = benchmark::Counter(
      static_cast<double>(state.iterations()) * macs / 1e9, benchmark::Counter::kIsRate);
}
BENCHMARK(fma_peak);
#endif

}  // namespace
}  // namespace krserve::kernels
