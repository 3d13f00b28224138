#include "server/metrics/http_metrics.h"

namespace krserve::server {

void HttpMetrics::count_request(std::string_view path, int status) {
  const std::lock_guard lock(mutex_);
  ++requests_[{std::string(path), status}];
}

void HttpMetrics::write(PrometheusWriter& writer) const {
  writer.family("krserve:http_requests_total",
                "HTTP requests by path and status; 499 means that the client went away.",
                "counter");
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [key, count] : requests_) {
      const std::string status = std::to_string(key.second);
      writer.sample("krserve:http_requests_total", {{"path", key.first}, {"status", status}},
                    static_cast<double>(count));
    }
  }
  writer.gauge("krserve:http_connections", "Connections open.",
               static_cast<double>(connections_.load()));
  writer.counter("krserve:http_connections_refused_total",
                 "Connections refused because server.max_connections were open.",
                 static_cast<double>(refused_.load()));
}

}  // namespace krserve::server
