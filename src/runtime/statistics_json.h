// The three components' counters as JSON objects, under their names in statistics.h.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "runtime/statistics.h"

namespace krserve::runtime {

nlohmann::ordered_json to_json(const PoolStatistics& s);
nlohmann::ordered_json to_json(const BlitStatistics& s);
nlohmann::ordered_json to_json(const RingStatistics& s);

}  // namespace krserve::runtime
