#include "server/metrics/live_status.h"

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/process.h"
#include "runtime/statistics_json.h"
#include "server/metrics/component_status.h"
#include "server/version.h"

namespace krserve::server {
namespace {

using engine::EngineStatistics;
using engine::FinishReason;
using Json = nlohmann::json;

Json requests_json(const EngineStatistics& s) {
  const auto finished = [&](FinishReason reason) {
    return s.finished_total[static_cast<size_t>(reason)];
  };
  return {{"running", s.requests_running},
          {"waiting", s.requests_waiting},
          {"completed", finished(FinishReason::kStop) + finished(FinishReason::kLength)},
          {"cancelled", finished(FinishReason::kCancelled)},
          {"failed", s.requests_failed_total},
          {"preemptions", s.preemptions_total}};
}

Json mean_of(const engine::Histogram& seconds) {
  return {{"sum_s", seconds.sum}, {"count", seconds.count}};
}

Json process_json(std::chrono::system_clock::time_point started) {
  const ProcessUsage usage = process_usage();
  const auto since_epoch =
      std::chrono::duration_cast<std::chrono::milliseconds>(started.time_since_epoch());
  const std::chrono::duration<double> up = std::chrono::system_clock::now() - started;
  return {{"pid", getpid()},
          {"started_unix_ms", since_epoch.count()},
          {"uptime_s", up.count()},
          {"resident_bytes", usage.resident_bytes},
          {"cpu_s", usage.cpu_seconds}};
}

}  // namespace

Json live_status_json(const engine::Engine& engine, const ServerState& state) {
  const EngineStatistics s = engine.statistics();
  const engine::ModelInfo& model = engine.model();
  Json out = component_status_json(s);
  out["components"]["memory_pool"]["counters"] = to_json(s.pool);
  out["components"]["blit_queue"]["counters"] = to_json(s.blit);
  out["components"]["command_ring"]["counters"] = to_json(s.ring);
  out["version"] = kVersion;
  out["health"] = state.health;
  out["process"] = process_json(state.started);
  out["model"] = {{"name", model.name},
                  {"architecture", model.architecture},
                  {"context_length", model.context_length}};
  out["requests"] = requests_json(s);
  out["tokens"] = {{"prompt", s.prompt_tokens_total},
                   {"generated", s.generation_tokens_total},
                   {"discarded", s.discarded_tokens_total}};
  out["steps"] = s.steps_total;
  out["latency"] = {{"time_to_first_token", mean_of(s.time_to_first_token_s)},
                    {"inter_token", mean_of(s.inter_token_latency_s)},
                    {"queue", mean_of(s.queue_time_s)}};
  out["kv_cache"] = {{"pages", s.kv_pages_total}, {"pages_used", s.kv_pages_used}};
  out["device"] = {{"busy_ms", static_cast<double>(s.device_busy_ns) / 1e6},
                   {"utilization", s.device_utilization}};
  return out;
}

}  // namespace krserve::server
