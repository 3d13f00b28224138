// krserve bench --mode ablate: the eight combinations of pool, blit queue and ring, interleaved,
// beside what the seed document predicted.
#include <fmt/format.h>

#include <array>
#include <cstdio>

#include "base/error.h"
#include "base/log.h"
#include "cli/bench/bench.h"
#include "cli/bench/report.h"
#include "cli/progress.h"

namespace krserve::cli {
namespace {

using Json = nlohmann::json;

struct Combination {
  bool pool;
  bool blit;
  bool ring;
  const char* name;
  const char* predicted;  // the seed's throughput column, or none
  std::vector<double> tokens_per_s{};
  std::vector<double> ttft_ms{};
  std::vector<double> utilization{};
  uint64_t token_hash = 0;
};

std::array<Combination, 8> all_combinations() {
  return {{{false, false, false, "all off", "baseline"},
           {true, false, false, "memory pool", "+10-12 %"},
           {false, true, false, "blit queue", "+8-10 %"},
           {false, false, true, "command ring", "+2-3 %"},
           {true, true, false, "pool + blit", "-"},
           {true, false, true, "pool + ring", "-"},
           {false, true, true, "blit + ring", "-"},
           {true, true, true, "all on", "+28-40 %"}}};
}

RuntimeConfig switched(RuntimeConfig config, const Combination& c) {
  auto& m = config.metal_optimizations;
  m.enabled = true;
  m.graceful_fallback = false;  // a component that does not start must not be measured as if on
  m.memory_pool.enabled = c.pool;
  m.blit_queue.enabled = c.blit;
  m.command_buffer_ring.enabled = c.ring;
  return config;
}

// A fresh engine per run, so that no combination inherits another's state.
engine::EngineStatistics run_once(const RuntimeConfig& base, const std::filesystem::path& model_dir,
                                  const std::shared_ptr<Device>& device, const Workload& workload,
                                  Combination& c) {
  const auto engine = engine::Engine::create(switched(base, c), model_dir, {}, device);
  Workload warm_up = workload;
  warm_up.gen_tokens = std::min(workload.gen_tokens, 8U);
  run_workload(*engine, warm_up);
  const WorkloadResult run = run_workload(*engine, workload);
  if (c.token_hash != 0 && c.token_hash != run.token_hash) {
    throw_error<Error>("bench.ablate", "{}: two runs gave different tokens", c.name);
  }
  c.token_hash = run.token_hash;
  c.tokens_per_s.push_back(run.decode_tokens_per_s);
  c.ttft_ms.push_back(run.ttft_ms);
  c.utilization.push_back(run.device_utilization);
  return engine->statistics();
}

void print_table(const std::array<Combination, 8>& combinations) {
  const double base = spread_of(combinations[0].tokens_per_s).median;
  std::printf("%-14s %10s %21s %8s %10s %10s   %s\n", "", "tokens/s", "(min .. max)", "change",
              "TTFT ms", "device %", "seed's prediction");
  for (const Combination& c : combinations) {
    const Spread rate = spread_of(c.tokens_per_s);
    std::printf("%-14s %10.1f %21s %+7.1f%% %10.2f %10.1f   %s\n", c.name, rate.median,
                fmt::format("({:.1f} .. {:.1f})", rate.min, rate.max).c_str(),
                base > 0 ? (rate.median / base - 1) * 100 : 0, spread_of(c.ttft_ms).median,
                spread_of(c.utilization).median * 100, c.predicted);
  }
}

Json combination_json(const Combination& c) {
  return {{"pool", c.pool},
          {"blit", c.blit},
          {"ring", c.ring},
          {"tokens_per_s", to_json(spread_of(c.tokens_per_s))},
          {"ttft_ms", spread_of(c.ttft_ms).median},
          {"ttft_ms_spread", to_json(spread_of(c.ttft_ms))},
          {"device_utilization", spread_of(c.utilization).median},
          {"token_hash", format_hash(c.token_hash)}};
}

}  // namespace

int bench_ablate(const BenchOptions& options, const LoadedConfig& config) {
  const auto model_dir = model_directory(config.values);
  const RuntimeConfig base = config_for(config.values, model_dir, options.workload);
  DeviceOptions device_options;
  device_options.backend = base.engine.device;
  device_options.threads = static_cast<uint32_t>(base.engine.threads);
  const std::shared_ptr<Device> device = make_device(device_options);

  auto combinations = all_combinations();
  engine::EngineStatistics all_on;
  {
    ProgressBar bar("ablate");
    const double total = options.repeat * 8.0;
    for (uint32_t round = 0; round < options.repeat; ++round) {
      for (size_t i = 0; i < combinations.size(); ++i) {
        bar.update((round * 8.0 + static_cast<double>(i)) / total, combinations[i].name);
        all_on = run_once(base, model_dir, device, options.workload, combinations[i]);
      }
    }
  }
  bool identical = true;
  for (const Combination& c : combinations) {
    identical = identical && c.token_hash == combinations[0].token_hash;
  }
  const Workload& w = options.workload;
  std::printf("%s  %s\nablation  batch %u, prompt %u, generated %u, %u interleaved runs\n",
              model_dir.filename().string().c_str(), device->info().name.c_str(), w.batch,
              w.prompt_tokens, w.gen_tokens, options.repeat);
  print_table(combinations);
  std::printf("greedy tokens: %s\n", identical ? "identical in all eight combinations" : "DIFFER");

  Json list = Json::array();
  for (const Combination& c : combinations) list.push_back(combination_json(c));
  Json result = {{"mode", "ablate"},
                 {"device", device->info().name},
                 {"model", model_dir.filename().string()},
                 {"batch", w.batch},
                 {"prompt_tokens", w.prompt_tokens},
                 {"gen_tokens", w.gen_tokens},
                 {"repeat", options.repeat},
                 {"tokens_identical", identical},
                 {"combinations", list},
                 {"statistics", statistics_json(all_on)}};
  add_provenance(result, *device, options.command_line);
  write_result(result, options.json_file);
  if (!identical) {
    throw_error<Error>("bench.ablate", "greedy tokens differ between combinations: a bug");
  }
  return kExitOk;
}

}  // namespace krserve::cli
