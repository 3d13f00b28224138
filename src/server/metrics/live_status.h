// The body of GET /status: the components' grades, and the counters that rates are computed from.
#pragma once

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "engine/engine.h"

namespace krserve::server {

// What a server knows about itself beside its engine.
struct ServerState {
  std::string_view health;                        // as GET /health says it
  std::chrono::system_clock::time_point started;  // tells a restarted server from the old one
};

// component_status_json() with "counters" in each component (field names of runtime/statistics.h),
// and "version", "health", "process", "model", "requests", "tokens", "steps", "latency" (sums of
// seconds and counts), "kv_cache" and "device". Counters only grow, except at
// reset_statistics().
nlohmann::json live_status_json(const engine::Engine& engine, const ServerState& state);

}  // namespace krserve::server
