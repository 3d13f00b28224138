// A snapshot of the engine's counters, for /metrics, benches and tests.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "runtime/statistics.h"

namespace krserve::engine {

// Cumulative histogram in Prometheus' sense; counts has one more entry than bounds (+Inf).
struct Histogram {
  std::vector<double> bounds;
  std::vector<uint64_t> counts;
  double sum = 0;
  uint64_t count = 0;

  explicit Histogram(std::vector<double> upper_bounds = {});
  void observe(double value);
};

struct HostStepStatistics {
  uint64_t count = 0;
  double mean_us = 0;
  double p50_us = 0;
  double p99_us = 0;
};

struct EngineStatistics {
  uint32_t requests_running = 0;
  uint32_t requests_waiting = 0;
  double kv_cache_usage = 0;  // 0..1
  uint32_t kv_pages_total = 0;
  uint32_t kv_pages_used = 0;
  uint64_t prompt_tokens_total = 0;
  uint64_t generation_tokens_total = 0;
  uint64_t preemptions_total = 0;
  uint64_t steps_total = 0;
  uint64_t discarded_tokens_total = 0;  // drawn after the sequence had already stopped
  uint64_t requests_failed_total = 0;
  std::array<uint64_t, 4> finished_total{};  // by FinishReason

  Histogram time_to_first_token_s;
  Histogram inter_token_latency_s;
  Histogram e2e_latency_s;
  Histogram queue_time_s;
  Histogram prefill_time_s;
  Histogram decode_time_s;
  Histogram prompt_tokens;
  Histogram generation_tokens;
  Histogram iteration_tokens;

  runtime::PoolStatistics pool;
  runtime::BlitStatistics blit;
  runtime::RingStatistics ring;
  // What the engine's thread spends on a step while it does not wait for the device: scheduling,
  // encoding, committing, reading tokens, text and sinks.
  HostStepStatistics host_step;
  uint64_t device_busy_ns = 0;    // compute queue, since the engine was made
  double device_utilization = 0;  // device busy time / wall time since the last reset
  double since_reset_s = 0;       // wall time that the counters stand for
};

}  // namespace krserve::engine
