// One reading of a server: what krserve top shows of GET /status.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

namespace krserve::cli {

// Counters are doubles: rates are all that is made of them.
struct PoolReading {
  bool enabled = false;
  double heaps = 0;
  double active_heaps = 0;
  double heap_bytes = 0;
  double live_bytes = 0;
  double on_demand_bytes = 0;
  double largest_free_bytes = 0;
  double utilization = 0;  // 0..1
  double allocations = 0;
  double fallbacks = 0;
  double exhaustions = 0;
};

struct BlitReading {
  bool enabled = false;
  double uploads = 0;
  double downloads = 0;
  double upload_bytes = 0;
  double download_bytes = 0;
  double no_copy = 0;
  double copy_ms = 0;
  double overlapped_ms = 0;
  double sync_waits = 0;
  double stalls = 0;
  double failed = 0;
  double depth = 0;
  double peak_depth = 0;
};

struct RingReading {
  bool enabled = false;
  double slots = 0;
  double acquisitions = 0;
  double replays = 0;
  double wait_ms = 0;
  double waits = 0;
  double timeouts = 0;
  double rebuilds = 0;
  double recordings = 0;
  double gap_p50_us = 0;
  double gap_p99_us = 0;
};

struct RequestReading {
  double running = 0;
  double waiting = 0;
  double completed = 0;
  double cancelled = 0;
  double failed = 0;
  double preemptions = 0;
  double prompt_tokens = 0;
  double generated_tokens = 0;
  double steps = 0;
};

struct SumAndCount {
  double sum_s = 0;
  double count = 0;
};

// A row of the seed document's table as the server grades it.
struct GradedReading {
  std::string component;
  std::string metric;
  std::string unit;
  bool higher_is_better = true;
  double target = 0;
  double warning = 0;
  double critical = 0;
  std::optional<double> value;  // since the statistics were reset; none: no data
  std::string remedy;           // empty on target
};

struct Snapshot {
  std::chrono::steady_clock::time_point taken;
  int64_t pid = 0;
  int64_t started_unix_ms = 0;
  double uptime_s = 0;
  double resident_bytes = 0;
  double cpu_s = 0;
  std::string version;
  std::string health;
  std::string model;
  double kv_pages = 0;
  double kv_pages_used = 0;
  double device_busy_ms = 0;
  RequestReading requests;
  SumAndCount ttft;
  SumAndCount inter_token;
  SumAndCount queue;
  PoolReading pool;
  BlitReading blit;
  RingReading ring;
  std::vector<GradedReading> graded;

  // The same process since the same start: differences of counters mean something.
  bool same_run(const Snapshot& other) const {
    return pid == other.pid && started_unix_ms == other.started_unix_ms;
  }
};

// Throws Error naming the field that a server of another version does not have.
Snapshot parse_snapshot(const nlohmann::json& status, std::chrono::steady_clock::time_point taken);

}  // namespace krserve::cli
