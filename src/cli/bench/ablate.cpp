// krserve bench --mode ablate: the eight combinations of pool, blit queue and ring, interleaved,
// beside what the seed document predicted.
#include <fmt/format.h>

#include <array>
#include <cstdio>

#include "base/error.h"
#include "base/log.h"
#include "base/units.h"
#include "cli/bench/bench.h"
#include "cli/bench/interval.h"
#include "cli/bench/report.h"
#include "cli/progress.h"
#include "model/formats/model_name.h"

namespace krserve::cli {
namespace {

using Json = nlohmann::json;

// The seed document's component table; changes against everything off.
struct Prediction {
  const char* throughput = "-";
  const char* ttft = "-";
  const char* utilization = "-";
};

struct Combination {
  bool pool;
  bool blit;
  bool ring;
  const char* name;
  Prediction predicted;
  std::vector<double> tokens_per_s{};
  std::vector<double> ttft_ms{};
  std::vector<double> utilization{};
  uint64_t token_hash = 0;
};

std::array<Combination, 8> all_combinations() {
  return {{{false, false, false, "all off", {"baseline", "baseline", "baseline"}},
           {true, false, false, "memory pool", {"+10-12%", "-5-8%", "+2-3%"}},
           {false, true, false, "blit queue", {"+8-10%", "-10-15%", "+1-2%"}},
           {false, false, true, "command ring", {"+2-3%", "-2-3%", "+5-7%"}},
           {true, true, false, "pool + blit", {}},
           {true, false, true, "pool + ring", {}},
           {false, true, true, "blit + ring", {}},
           {true, true, true, "all on", {"+28-40%", "-15-20%", "+8-12%"}}}};
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

// One of the measured quantities: where its values are, and what the seed said of it.
struct Quantity {
  const char* title;
  const char* key;  // in the JSON
  std::vector<double> Combination::* values;
  const char* Prediction::* predicted;
  double scale;  // for display
};

constexpr std::array<Quantity, 3> kQuantities{{
    {"throughput, tokens/s", "tokens_per_s", &Combination::tokens_per_s, &Prediction::throughput,
     1},
    {"time to first token, ms", "ttft_ms", &Combination::ttft_ms, &Prediction::ttft, 1},
    {"device utilization, %", "device_utilization", &Combination::utilization,
     &Prediction::utilization, 100},
}};

void print_quantity(const std::array<Combination, 8>& combinations, const Quantity& q) {
  std::printf("\n%-24s %10s %23s %9s %21s   %s\n", q.title, "median", "(95 % of the median)",
              "change", "(95 %, paired)", "seed's prediction");
  for (const Combination& c : combinations) {
    const Interval value = bootstrap_median(c.*q.values);
    const Interval change =
        bootstrap_median(paired_changes(c.*q.values, combinations[0].*q.values));
    std::printf(
        "%-24s %10.2f %23s %+8.1f%% %21s   %s\n", c.name, value.median * q.scale,
        fmt::format("({:.2f} .. {:.2f})", value.low * q.scale, value.high * q.scale).c_str(),
        change.median * 100,
        fmt::format("({:+.1f} .. {:+.1f})", change.low * 100, change.high * 100).c_str(),
        c.predicted.*q.predicted);
  }
}

void print_table(const std::array<Combination, 8>& combinations) {
  for (const Quantity& q : kQuantities) print_quantity(combinations, q);
  const size_t rounds = combinations[0].tokens_per_s.size();
  std::printf(
      "\nintervals: percentile bootstrap of the median over %zu rounds; change: of each "
      "round against all off in the same round%s\n",
      rounds, rounds < 5 ? " (fewer than 5 rounds: they say little)" : "");
}

Json to_json(const Interval& interval) {
  return {{"median", interval.median}, {"low", interval.low}, {"high", interval.high}};
}

Json combination_json(const Combination& c, const Combination& base) {
  Json out = {{"pool", c.pool},
              {"blit", c.blit},
              {"ring", c.ring},
              {"tokens_per_s", to_json(spread_of(c.tokens_per_s))},
              {"ttft_ms", spread_of(c.ttft_ms).median},
              {"ttft_ms_spread", to_json(spread_of(c.ttft_ms))},
              {"device_utilization", spread_of(c.utilization).median},
              {"token_hash", format_hash(c.token_hash)}};
  for (const Quantity& q : kQuantities) {
    const std::vector<double>& values = c.*q.values;
    out["interval95"][q.key] = to_json(bootstrap_median(values));
    out["change"][q.key] = to_json(bootstrap_median(paired_changes(values, base.*q.values)));
    out["predicted_change"][q.key] = c.predicted.*q.predicted;
    out["runs"][q.key] = values;
  }
  return out;
}

}  // namespace

int bench_ablate(const BenchOptions& options, const LoadedConfig& config) {
  const auto model_dir = model_directory(config.values);
  const RuntimeConfig base = config_for(config.values, model_dir, options.workload);
  const std::shared_ptr<Device> device = open_device(config);

  auto combinations = all_combinations();
  engine::EngineStatistics all_on;
  {
    ProgressBar bar("ablate");
    const double total = options.repeat * 8.0;
    const uint64_t start_ns = now_ns();
    for (uint32_t round = 0; round < options.repeat; ++round) {
      if (round > 0 && over(options, start_ns)) break;
      for (size_t i = 0; i < combinations.size(); ++i) {
        // Each round begins with another one: nobody always runs after the same neighbour.
        Combination& c = combinations[(i + round) % combinations.size()];
        bar.update((round * 8.0 + static_cast<double>(i)) / total, c.name);
        const auto statistics = run_once(base, model_dir, device, options.workload, c);
        if (c.pool && c.blit && c.ring) all_on = statistics;
      }
    }
  }
  bool identical = true;
  for (const Combination& c : combinations) {
    identical = identical && c.token_hash == combinations[0].token_hash;
  }
  const Workload& w = options.workload;
  std::printf("%s  %s\nablation  batch %u, prompt %u, generated %u, %zu interleaved runs\n",
              model_name(model_dir).c_str(), device->info().name.c_str(), w.batch, w.prompt_tokens,
              w.gen_tokens, combinations[0].tokens_per_s.size());
  print_table(combinations);
  std::printf("greedy tokens: %s\n", identical ? "identical in all eight combinations" : "DIFFER");

  Json list = Json::array();
  for (const Combination& c : combinations) list.push_back(combination_json(c, combinations[0]));
  Json result = {{"mode", "ablate"},
                 {"device", device->info().name},
                 {"model", model_name(model_dir)},
                 {"batch", w.batch},
                 {"prompt_tokens", w.prompt_tokens},
                 {"gen_tokens", w.gen_tokens},
                 {"repeat", combinations[0].tokens_per_s.size()},
                 {"tokens_identical", identical},
                 {"combinations", list},
                 {"intervals",
                  "95 % percentile bootstrap of the median (10,000 resamples); change: paired with "
                  "all off of the same round"},
                 {"statistics", statistics_json(all_on)}};
  add_provenance(result, *device, options.command_line);
  write_result(result, options.json_file);
  if (!identical) {
    throw_error<Error>("bench.ablate", "greedy tokens differ between combinations: a bug");
  }
  return kExitOk;
}

}  // namespace krserve::cli
