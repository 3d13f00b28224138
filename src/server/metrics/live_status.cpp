#include "server/metrics/live_status.h"

#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/process.h"
#include "server/metrics/component_status.h"
#include "server/version.h"

namespace krserve::server {
namespace {

using engine::EngineStatistics;
using engine::FinishReason;
using Json = nlohmann::json;

Json pool_counters(const runtime::PoolStatistics& p) {
  return {{"total_heaps", p.total_heaps},
          {"active_heaps", p.active_heaps},
          {"heap_bytes", p.heap_bytes},
          {"live_bytes", p.live_bytes},
          {"on_demand_bytes", p.on_demand_bytes},
          {"largest_free_block_bytes", p.largest_free_block_bytes},
          {"utilization", p.utilization},
          {"fragmentation", p.fragmentation},
          {"live_objects", p.live_objects},
          {"total_allocations", p.total_allocations},
          {"fallback_allocations", p.fallback_allocations},
          {"exhaustion_count", p.exhaustion_count},
          {"device_allocations", p.device_allocations}};
}

Json blit_counters(const runtime::BlitStatistics& b) {
  return {{"total_uploads", b.total_uploads},      {"total_downloads", b.total_downloads},
          {"upload_bytes", b.upload_bytes},        {"download_bytes", b.download_bytes},
          {"no_copy_count", b.no_copy_count},      {"copy_ms", b.copy_ms},
          {"overlapped_ms", b.overlapped_ms},      {"sync_wait_count", b.sync_wait_count},
          {"stall_count", b.stall_count},          {"failed_count", b.failed_count},
          {"staging_bytes", b.staging_bytes},      {"queue_depth", b.queue_depth},
          {"peak_queue_depth", b.peak_queue_depth}};
}

Json ring_counters(const runtime::RingStatistics& r) {
  return {{"ring_size", r.ring_size},     {"total_acquisitions", r.total_acquisitions},
          {"replays", r.replays},         {"wait_ms", r.wait_ms},
          {"wait_events", r.wait_events}, {"max_wait_ms", r.max_wait_ms},
          {"timeouts", r.timeouts},       {"rebuilds", r.rebuilds},
          {"recordings", r.recordings},   {"gap_p50_us", r.gap_p50_us},
          {"gap_p99_us", r.gap_p99_us}};
}

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
  out["components"]["memory_pool"]["counters"] = pool_counters(s.pool);
  out["components"]["blit_queue"]["counters"] = blit_counters(s.blit);
  out["components"]["command_ring"]["counters"] = ring_counters(s.ring);
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
