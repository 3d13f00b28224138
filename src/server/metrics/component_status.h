// The graded metrics of memory pool, blit queue and command ring, for /metrics and /status.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "engine/component_status.h"
#include "server/metrics/prometheus_writer.h"

namespace krserve::server {

// krserve:component_status{component, metric}: 0 on target, 1 acceptable, 2 warning, 3 critical.
// Metrics without data are left out.
void write_component_status(PrometheusWriter& writer,
                            const std::vector<engine::GradedMetric>& metrics);

// {"components": {"memory_pool": {"enabled", "grade", "metrics": [{"name", "value", "unit",
// "target", "warning", "critical", "grade", "remedy"}]}, ...}}; a component's grade is its worst
// metric's.
nlohmann::json component_status_json(const engine::EngineStatistics& statistics);

}  // namespace krserve::server
