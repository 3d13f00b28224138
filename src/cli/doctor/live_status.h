// The graded metrics of a running server, or of a short run of the configured model.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "config/runtime_config.h"

namespace krserve::cli {

// GET /status of `url` ("http://host:port"), with the key if it is not empty. Throws UsageError for
// another form of address, Error when there is no answer or another than the status.
nlohmann::json fetch_status(const std::string& url, const std::string& api_key);
// Loads the model, generates with it for a moment and grades what was counted; null in a build
// without the server.
nlohmann::json status_of_short_run(const RuntimeConfig& config);

// A null status: says what would give one.
void print_status(const nlohmann::json& status);

}  // namespace krserve::cli
