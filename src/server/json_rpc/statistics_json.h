// The engine's and the three components' counters as JSON, under their names in the headers.
#pragma once

#include "engine/statistics.h"
#include "server/json_rpc/rpc_error.h"

namespace krserve::server::rpc {

// {"memory_pool", "blit_queue", "command_buffer_ring", "engine", "status"}; see
// runtime/statistics.h and engine/statistics.h for what each number means.
OrderedJson statistics_json(const engine::EngineStatistics& statistics);

}  // namespace krserve::server::rpc
