#include "cli/top/snapshot.h"

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace krserve::cli {
namespace {

using Json = nlohmann::json;

double number(const Json& object, const char* key) {
  return object.at(key).get<double>();
}

PoolReading read_pool(const Json& component) {
  const Json& c = component.at("counters");
  return {.enabled = component.at("enabled").get<bool>(),
          .heaps = number(c, "total_heaps"),
          .active_heaps = number(c, "active_heaps"),
          .heap_bytes = number(c, "heap_bytes"),
          .live_bytes = number(c, "live_bytes"),
          .on_demand_bytes = number(c, "on_demand_bytes"),
          .largest_free_bytes = number(c, "largest_free_block_bytes"),
          .utilization = number(c, "utilization"),
          .allocations = number(c, "total_allocations"),
          .fallbacks = number(c, "fallback_allocations"),
          .exhaustions = number(c, "exhaustion_count")};
}

BlitReading read_blit(const Json& component) {
  const Json& c = component.at("counters");
  return {.enabled = component.at("enabled").get<bool>(),
          .uploads = number(c, "total_uploads"),
          .downloads = number(c, "total_downloads"),
          .upload_bytes = number(c, "upload_bytes"),
          .download_bytes = number(c, "download_bytes"),
          .no_copy = number(c, "no_copy_count"),
          .copy_ms = number(c, "copy_ms"),
          .overlapped_ms = number(c, "overlapped_ms"),
          .sync_waits = number(c, "sync_wait_count"),
          .stalls = number(c, "stall_count"),
          .failed = number(c, "failed_count"),
          .depth = number(c, "queue_depth"),
          .peak_depth = number(c, "peak_queue_depth")};
}

RingReading read_ring(const Json& component) {
  const Json& c = component.at("counters");
  return {.enabled = component.at("enabled").get<bool>(),
          .slots = number(c, "ring_size"),
          .acquisitions = number(c, "total_acquisitions"),
          .replays = number(c, "replays"),
          .wait_ms = number(c, "wait_ms"),
          .waits = number(c, "wait_events"),
          .timeouts = number(c, "timeouts"),
          .rebuilds = number(c, "rebuilds"),
          .recordings = number(c, "recordings"),
          .gap_p50_us = number(c, "gap_p50_us"),
          .gap_p99_us = number(c, "gap_p99_us")};
}

RequestReading read_requests(const Json& status) {
  const Json& r = status.at("requests");
  const Json& tokens = status.at("tokens");
  return {.running = number(r, "running"),
          .waiting = number(r, "waiting"),
          .completed = number(r, "completed"),
          .cancelled = number(r, "cancelled"),
          .failed = number(r, "failed"),
          .preemptions = number(r, "preemptions"),
          .prompt_tokens = number(tokens, "prompt"),
          .generated_tokens = number(tokens, "generated"),
          .steps = number(status, "steps")};
}

SumAndCount read_mean(const Json& latency, const char* key) {
  return {number(latency.at(key), "sum_s"), number(latency.at(key), "count")};
}

GradedReading read_graded(const std::string& component, const Json& m) {
  GradedReading out{.component = component,
                    .metric = m.at("name"),
                    .unit = m.at("unit"),
                    .higher_is_better = m.at("higher_is_better"),
                    .target = number(m, "target"),
                    .warning = number(m, "warning"),
                    .critical = number(m, "critical"),
                    .value = {},
                    .remedy = m.value("remedy", "")};
  if (!m.at("value").is_null()) out.value = number(m, "value");
  return out;
}

void read_process(const Json& process, Snapshot& out) {
  out.pid = process.at("pid");
  out.started_unix_ms = process.at("started_unix_ms");
  out.uptime_s = number(process, "uptime_s");
  out.resident_bytes = number(process, "resident_bytes");
  out.cpu_s = number(process, "cpu_s");
}

Snapshot read(const Json& status) {
  Snapshot out;
  read_process(status.at("process"), out);
  out.version = status.at("version");
  out.health = status.at("health");
  out.model = status.at("model").at("name");
  out.kv_pages = number(status.at("kv_cache"), "pages");
  out.kv_pages_used = number(status.at("kv_cache"), "pages_used");
  out.device_busy_ms = number(status.at("device"), "busy_ms");
  out.requests = read_requests(status);
  out.ttft = read_mean(status.at("latency"), "time_to_first_token");
  out.inter_token = read_mean(status.at("latency"), "inter_token");
  out.queue = read_mean(status.at("latency"), "queue");
  const Json& components = status.at("components");
  out.pool = read_pool(components.at("memory_pool"));
  out.blit = read_blit(components.at("blit_queue"));
  out.ring = read_ring(components.at("command_ring"));
  for (const auto& [name, component] : components.items()) {
    for (const Json& metric : component.value("metrics", Json::array())) {
      out.graded.push_back(read_graded(name, metric));
    }
  }
  return out;
}

}  // namespace

Snapshot parse_snapshot(const Json& status, std::chrono::steady_clock::time_point taken) {
  try {
    Snapshot out = read(status);
    out.taken = taken;
    return out;
  } catch (const Json::exception& error) {
    throw_error<Error>("top.status",
                       "the server's /status is not of this version: {}; run the krserve top "
                       "that came with the server",
                       error.what());
  }
}

}  // namespace krserve::cli
