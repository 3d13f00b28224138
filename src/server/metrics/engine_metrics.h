// The engine's and the three runtime components' counters as Prometheus metrics.
#pragma once

#include "engine/statistics.h"
#include "server/metrics/prometheus_writer.h"

namespace krserve::server {

// vllm:* under the names that existing dashboards read.
void write_engine_metrics(PrometheusWriter& writer, const engine::EngineStatistics& statistics);
// krserve:* for the engine, memory pool, blit queue and command ring.
void write_runtime_metrics(PrometheusWriter& writer, const engine::EngineStatistics& statistics);

}  // namespace krserve::server
