// krserve bench --mode decode and --mode prefill: one engine, repeated runs, the fraction of the
// machine's read bandwidth, and what a step costs the host.
#include <fmt/format.h>

#include <cstdio>

#include "base/units.h"
#include "cli/bench/bench.h"
#include "cli/bench/report.h"
#include "cli/progress.h"

namespace krserve::cli {
namespace {

using Json = nlohmann::json;

struct Measured {
  std::vector<double> tokens_per_s;
  std::vector<double> ttft_ms;
  std::vector<double> bandwidth_limit_gbs;  // before each run
  double allocations_per_token = 0;
  engine::ModelInfo model;
  engine::EngineStatistics statistics;
  double peak_rss_mb = 0;
  double peak_device_mb = 0;  // without the bandwidth probe's
};

Measured measure(const BenchOptions& options, const LoadedConfig& config,
                 const std::shared_ptr<Device>& device, double WorkloadResult::* rate) {
  const auto model_dir = model_directory(config.values);
  ProgressBar bar("bench");
  const auto engine = engine::Engine::create(config_for(config.values, model_dir, options.workload),
                                             model_dir, {}, device);
  Measured out;
  out.model = engine->model();
  run_workload(*engine, options.workload);  // pages in the weights, makes the recordings
  out.peak_rss_mb = peak_rss_mb();
  out.peak_device_mb = static_cast<double>(device->memory().peak_bytes) / static_cast<double>(kMiB);
  engine->reset_statistics();
  BandwidthProbe probe(*device);
  const uint64_t start_ns = now_ns();
  for (uint32_t i = 0; i < options.repeat && (i == 0 || !over(options, start_ns)); ++i) {
    bar.update(static_cast<double>(i) / options.repeat, fmt::format("run {}", i + 1));
    out.bandwidth_limit_gbs.push_back(probe.measure());
    const WorkloadResult run = run_workload(*engine, options.workload);
    out.tokens_per_s.push_back(run.*rate);
    out.ttft_ms.push_back(run.ttft_ms);
    out.allocations_per_token = std::max(out.allocations_per_token, run.allocations_per_token);
  }
  out.statistics = engine->statistics();
  return out;
}

Json host_step_json(const engine::HostStepStatistics& s) {
  return {{"count", s.count}, {"mean", s.mean_us}, {"p50", s.p50_us}, {"p99", s.p99_us}};
}

// `bytes_per_token`: all bytes a token's share of a step reads.
int report(const BenchOptions& options, const char* mode, Device& device, const Measured& m,
           double bytes_per_token) {
  const Spread limit = spread_of(m.bandwidth_limit_gbs);
  // The machine's speed may drift: each run is compared with the limit measured just before it.
  std::vector<double> fractions;
  fractions.reserve(m.tokens_per_s.size());
  for (size_t i = 0; i < m.tokens_per_s.size(); ++i) {
    fractions.push_back(m.tokens_per_s[i] * bytes_per_token / 1e9 / m.bandwidth_limit_gbs[i]);
  }
  const Spread fraction = spread_of(fractions);
  const Spread rate = spread_of(m.tokens_per_s);
  const double bandwidth = rate.median * bytes_per_token / 1e9;
  const Workload& w = options.workload;
  Json result = {{"mode", mode},
                 {"device", device.info().name},
                 {"model", m.model.name},
                 {"batch", w.batch},
                 {"prompt_tokens", w.prompt_tokens},
                 {"gen_tokens", w.gen_tokens},
                 {"repeat", m.tokens_per_s.size()},
                 {"tokens_per_s", rate.median},
                 {"tokens_per_s_spread", to_json(rate)},
                 {"ttft_ms", spread_of(m.ttft_ms).median},
                 {"bytes_per_token", bytes_per_token},
                 {"bandwidth_gbs", bandwidth},
                 {"bandwidth_measured_gbs", limit.median},
                 {"bandwidth_measured_spread", to_json(limit)},
                 {"fraction", fraction.median},
                 {"fraction_spread", to_json(fraction)},
                 {"peak_rss_mb", m.peak_rss_mb},
                 {"peak_device_mb", m.peak_device_mb},
                 {"host_step_us", host_step_json(m.statistics.host_step)},
                 {"gap_p50_us", m.statistics.ring.gap_p50_us},
                 {"gap_p99_us", m.statistics.ring.gap_p99_us},
                 {"tokens_per_s_runs", m.tokens_per_s},
                 {"weights_mb", static_cast<double>(m.model.weight_bytes) / (1 << 20)},
                 {"kv_cache_mb", static_cast<double>(m.model.kv_cache_bytes) / (1 << 20)},
                 {"allocations_per_token", m.allocations_per_token},
                 {"statistics", statistics_json(m.statistics)}};
  add_provenance(result, device, options.command_line);
  std::printf("%s  %s\n%s  batch %u, prompt %u, generated %u, %zu runs\n", m.model.name.c_str(),
              device.info().name.c_str(), mode, w.batch, w.prompt_tokens, w.gen_tokens,
              m.tokens_per_s.size());
  std::printf("  tokens/s            %10.1f  (%.1f .. %.1f)\n", rate.median, rate.min, rate.max);
  std::printf("  time to first token %10.2f ms\n", spread_of(m.ttft_ms).median);
  std::printf("  bytes per token     %10.1f MB\n", bytes_per_token / 1e6);
  std::printf("  read bandwidth      %10.1f GB/s of %.1f measured: %.0f %%  (%.0f .. %.0f)\n",
              bandwidth, limit.median, fraction.median * 100, fraction.min * 100,
              fraction.max * 100);
  std::printf("  peak resident       %10.0f MiB (weights %.0f, KV cache %.0f)\n", m.peak_rss_mb,
              static_cast<double>(m.model.weight_bytes) / (1 << 20),
              static_cast<double>(m.model.kv_cache_bytes) / (1 << 20));
  std::printf("  peak device memory  %10.0f MiB\n", m.peak_device_mb);
  std::printf("  device allocations  %10.3f per token\n", m.allocations_per_token);
  const engine::HostStepStatistics& host = m.statistics.host_step;
  std::printf("  host time per step  %10.1f us median (mean %.1f, p99 %.1f, %llu steps)\n",
              host.p50_us, host.mean_us, host.p99_us, static_cast<unsigned long long>(host.count));
  if (m.statistics.ring.enabled) {
    std::printf("  gap between steps   %10.1f us median (p99 %.1f)\n", m.statistics.ring.gap_p50_us,
                m.statistics.ring.gap_p99_us);
  }
  write_result(result, options.json_file);
  return kExitOk;
}

}  // namespace

int bench_decode(const BenchOptions& options, const LoadedConfig& config) {
  const auto device = open_device(config);
  const Measured m = measure(options, config, device, &WorkloadResult::decode_tokens_per_s);
  const Workload& w = options.workload;
  // A step reads the weights once for the whole batch, and each sequence's context so far.
  const double mean_context = w.prompt_tokens + w.gen_tokens / 2.0;
  const double bytes = static_cast<double>(m.model.bytes_per_token) / w.batch +
                       mean_context * static_cast<double>(m.model.kv_bytes_per_token);
  return report(options, "decode", *device, m, bytes);
}

int bench_prefill(const BenchOptions& options, const LoadedConfig& config) {
  const auto device = open_device(config);
  BenchOptions prefill = options;
  prefill.workload.gen_tokens = 1;
  const Measured m = measure(prefill, config, device, &WorkloadResult::prefill_tokens_per_s);
  const Workload& w = prefill.workload;
  // A chunk of the prompt shares one reading of the weights.
  const double chunk = std::min<double>(
      w.prompt_tokens * w.batch, static_cast<double>(config.values.engine.prefill_chunk_tokens));
  const double bytes = static_cast<double>(m.model.bytes_per_token) / chunk +
                       w.prompt_tokens / 2.0 * static_cast<double>(m.model.kv_bytes_per_token);
  return report(prefill, "prefill", *device, m, bytes);
}

}  // namespace krserve::cli
