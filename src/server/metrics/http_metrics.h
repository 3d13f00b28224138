// Counts HTTP requests by path and status, and open connections.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "server/metrics/prometheus_writer.h"

namespace krserve::server {

// Status of a request whose client went away before the answer was complete.
inline constexpr int kStatusClientClosed = 499;

// Safe from any thread.
class HttpMetrics {
 public:
  // `path` is one of a fixed set, so that clients cannot make the number of series grow.
  void count_request(std::string_view path, int status);
  void connection_opened() { ++connections_; }
  void connection_closed() { --connections_; }
  void connection_refused() { ++refused_; }

  void write(PrometheusWriter& writer) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, uint64_t> requests_;
  std::atomic<int64_t> connections_{0};
  std::atomic<uint64_t> refused_{0};
};

}  // namespace krserve::server
