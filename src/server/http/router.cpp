#include "server/http/router.h"

#include <array>

#include "server/http/message.h"

namespace krserve::server {
namespace {

constexpr std::string_view kGet = "GET, HEAD, OPTIONS";
constexpr std::string_view kPost = "POST, OPTIONS";
constexpr std::string_view kModelPrefix = "/v1/models/";

struct Entry {
  std::string_view path;
  Endpoint endpoint;
  std::string_view allowed;
};

constexpr std::array<Entry, 7> kTable = {{
    {"/v1/chat/completions", Endpoint::kChatCompletions, kPost},
    {"/v1/completions", Endpoint::kCompletions, kPost},
    {"/v1/models", Endpoint::kModels, kGet},
    {"/health", Endpoint::kHealth, kGet},
    {"/metrics", Endpoint::kMetrics, kGet},
    {"/status", Endpoint::kStatus, kGet},
    {"/version", Endpoint::kVersion, kGet},
}};

bool method_allowed(std::string_view method, std::string_view allowed) {
  return allowed == kGet ? method == "GET" || method == "HEAD" : method == "POST";
}

}  // namespace

Route find_route(std::string_view method, std::string_view path) {
  Route route;
  route.metric_path = "other";
  for (const Entry& entry : kTable) {
    if (entry.path != path) continue;
    route.endpoint = entry.endpoint;
    route.allowed = entry.allowed;
    route.metric_path = entry.path;
  }
  if (path.starts_with(kModelPrefix) && path.size() > kModelPrefix.size()) {
    route.endpoint = Endpoint::kModel;
    route.model = percent_decode(path.substr(kModelPrefix.size()));
    route.allowed = kGet;
    route.metric_path = "/v1/models/{model}";
  }
  route.method_allowed =
      route.endpoint != Endpoint::kNotFound && method_allowed(method, route.allowed);
  return route;
}

}  // namespace krserve::server
