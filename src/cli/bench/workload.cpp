#include "cli/bench/workload.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <random>

#include "base/error.h"
#include "base/units.h"
#include "engine/kv_cache/kv_cache.h"

namespace krserve::cli {
namespace {

struct Trace {
  std::vector<uint64_t> arrivals_ns;
  std::vector<int32_t> tokens;
  bool done = false;
  std::string error;
};

// Shared by the sinks, which may outlive the waiting function when it throws.
struct Traces {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Trace> all;
  uint32_t unfinished = 0;

  void take(uint32_t index, engine::Chunk&& chunk) {
    const std::lock_guard lock(mutex);
    Trace& trace = all[index];
    trace.tokens.insert(trace.tokens.end(), chunk.tokens.begin(), chunk.tokens.end());
    trace.arrivals_ns.resize(trace.tokens.size(), now_ns());
    if (!chunk.finish) return;
    trace.error = chunk.error;
    trace.done = true;
    --unfinished;
    changed.notify_all();
  }
};

std::vector<int32_t> random_prompt(uint32_t tokens, uint32_t vocabulary, uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::vector<int32_t> prompt(tokens);
  // Modulo, not uniform_int_distribution: the same prompts with every standard library.
  for (int32_t& token : prompt) token = static_cast<int32_t>(generator() % vocabulary);
  return prompt;
}

uint64_t hash_tokens(const std::vector<Trace>& traces) {
  uint64_t hash = 0xCBF29CE484222325ULL;
  for (const Trace& trace : traces) {
    for (const int32_t token : trace.tokens) {
      hash = (hash ^ static_cast<uint32_t>(token)) * 0x100000001B3ULL;
    }
  }
  return hash;
}

void measure(const std::vector<Trace>& traces, uint64_t start_ns, const Workload& workload,
             WorkloadResult& out) {
  uint64_t all_started = 0;
  uint64_t first_ended = UINT64_MAX;
  uint64_t last_ended = 0;
  uint64_t tokens = 0;
  double ttft_ns = 0;
  for (const Trace& trace : traces) {
    all_started = std::max(all_started, trace.arrivals_ns.front());
    first_ended = std::min(first_ended, trace.arrivals_ns.back());
    last_ended = std::max(last_ended, trace.arrivals_ns.back());
    tokens += trace.tokens.size();
    ttft_ns += static_cast<double>(trace.arrivals_ns.front() - start_ns);
  }
  uint64_t in_window = 0;
  for (const Trace& trace : traces) {
    in_window += static_cast<uint64_t>(
        std::count_if(trace.arrivals_ns.begin(), trace.arrivals_ns.end(),
                      [&](uint64_t at) { return at > all_started && at <= first_ended; }));
  }
  const auto per_second = [](uint64_t count, uint64_t ns) {
    return ns ? static_cast<double>(count) * 1e9 / static_cast<double>(ns) : 0;
  };
  if (first_ended > all_started) {
    out.decode_tokens_per_s = per_second(in_window, first_ended - all_started);
  }
  out.total_tokens_per_s = per_second(tokens, last_ended - start_ns);
  out.prefill_tokens_per_s =
      per_second(uint64_t{workload.batch} * workload.prompt_tokens, all_started - start_ns);
  out.ttft_ms = ttft_ns / 1e6 / static_cast<double>(traces.size());
}

}  // namespace

WorkloadResult run_workload(engine::Engine& engine, const Workload& workload) {
  auto traces = std::make_shared<Traces>();
  traces->all.resize(workload.batch);
  traces->unfinished = workload.batch;
  // Differences, not a reset: the components' counters go on, from their start-up work.
  const engine::EngineStatistics before = engine.statistics();
  const uint64_t start_ns = now_ns();
  for (uint32_t i = 0; i < workload.batch; ++i) {
    engine::Request request;
    request.prompt =
        random_prompt(workload.prompt_tokens, engine.model().vocab_size, workload.seed * 1000 + i);
    request.sampling.temperature = 0;
    request.max_tokens = workload.gen_tokens;
    request.ignore_eos = true;
    engine.submit(std::move(request),
                  [traces, i](engine::Chunk&& chunk) { traces->take(i, std::move(chunk)); });
  }
  std::unique_lock lock(traces->mutex);
  traces->changed.wait(lock, [&] { return traces->unfinished == 0; });
  for (const Trace& trace : traces->all) {
    if (!trace.error.empty() || trace.tokens.empty()) {
      throw DeviceError("bench.run", trace.error.empty() ? "no tokens came" : trace.error);
    }
  }
  const engine::EngineStatistics statistics = engine.statistics();
  WorkloadResult out;
  measure(traces->all, start_ns, workload, out);
  out.token_hash = hash_tokens(traces->all);
  out.device_utilization = static_cast<double>(statistics.device_busy_ns - before.device_busy_ns) /
                           static_cast<double>(now_ns() - start_ns);
  out.allocations_per_token =
      static_cast<double>(statistics.pool.device_allocations - before.pool.device_allocations) /
      static_cast<double>(uint64_t{workload.batch} * workload.gen_tokens);
  return out;
}

RuntimeConfig config_for(RuntimeConfig config, const std::filesystem::path& model_dir,
                         const Workload& workload) {
  const krserve::ModelConfig model = read_model_config(model_dir);
  const uint32_t context = workload.prompt_tokens + workload.gen_tokens;
  if (context > model.max_position_embeddings) {
    throw_error<UsageError>(
        "bench.config", "--prompt-tokens {} + --gen-tokens {} is past the model's context of {}",
        workload.prompt_tokens, workload.gen_tokens, model.max_position_embeddings);
  }
  const auto type = config.engine.kv_type == "f32" ? ops::FloatType::kF32 : ops::FloatType::kF16;
  const uint64_t tokens =
      workload.batch * align_up(context + 1, static_cast<uint64_t>(config.engine.kv_page_tokens));
  config.engine.ctx_size = context;
  config.engine.parallel = workload.batch;
  config.engine.max_queued = std::max<int64_t>(config.engine.max_queued, workload.batch);
  config.engine.kv_cache_mb =
      static_cast<int64_t>(ceil_div(tokens * engine::kv_bytes_per_token(model, type), kMiB));
  return config;
}

std::string format_hash(uint64_t hash) {
  return fmt::format("0x{:016x}", hash);
}

}  // namespace krserve::cli
