// A reading and its rates as one JSON object, for scripts.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "cli/top/frame.h"

namespace krserve::cli {

// {"server", "error" (null when there is none), "restarted", "model", "health", "uptime_s",
// "requests", "rates", "metrics"}; without an answer so far, "server" and "error" alone.
nlohmann::json view_json(const View& view);

}  // namespace krserve::cli
