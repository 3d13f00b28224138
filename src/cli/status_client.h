// Asks a running server for GET /status.
#pragma once

#include <chrono>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <stdexcept>
#include <string>

namespace krserve::cli {

// `go_on` said no.
struct StatusAbandoned : std::runtime_error {
  StatusAbandoned() : std::runtime_error("abandoned") {}
};

// GET /status of `url` ("http://host:port"), with the key if it is not empty. While waiting, asks
// `go_on` some twenty times a second. Throws UsageError for another form of address, Error when
// there is no answer within `limit` or another than the status.
nlohmann::json fetch_status(const std::string& url, const std::string& api_key,
                            std::chrono::milliseconds limit = std::chrono::seconds(10),
                            const std::function<bool()>& go_on = {});

}  // namespace krserve::cli
