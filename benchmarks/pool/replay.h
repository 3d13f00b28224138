// Replays a recorded allocation log, in order and without its pauses.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>

#include "pool/peers.h"
#include "runtime/memory_pool/allocation_log.h"

namespace krserve::bench {

// Times of the allocations and frees, and for the pool its hit rate, exhaustions and peak. The log
// is replayed until `operations` events have been timed; what it leaves live is freed untimed.
nlohmann::json run_replay(Peer& peer, const std::vector<runtime::AllocationEvent>& log,
                          uint64_t operations);

// What the log holds: events, allocations by tag, largest, most live.
nlohmann::json describe_log(const std::vector<runtime::AllocationEvent>& log);

}  // namespace krserve::bench
