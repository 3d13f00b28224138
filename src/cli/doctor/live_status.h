// The graded metrics of a running server, or of a short run of the configured model.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "config/runtime_config.h"

namespace krserve::cli {

// Loads the model, generates with it for a moment and grades what was counted; null in a build
// without the server.
nlohmann::json status_of_short_run(const RuntimeConfig& config);

// A null status: says what would give one.
void print_status(const nlohmann::json& status);

}  // namespace krserve::cli
