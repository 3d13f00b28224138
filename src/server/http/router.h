// Which endpoint a method and a path mean.
#pragma once

#include <string>
#include <string_view>

namespace krserve::server {

enum class Endpoint {
  kChatCompletions,
  kCompletions,
  kModels,
  kModel,
  kHealth,
  kMetrics,
  kStatus,
  kVersion,
  kNotFound
};

struct Route {
  Endpoint endpoint = Endpoint::kNotFound;
  std::string model;             // kModel: percent-decoded
  std::string_view allowed;      // methods, for the Allow header; empty for kNotFound
  bool method_allowed = false;   // false for OPTIONS as well
  std::string_view metric_path;  // one of a fixed set, for the request counter
};

// `path` comes without its query.
Route find_route(std::string_view method, std::string_view path);

}  // namespace krserve::server
