// What all connections of a server share: settings, counters, the worker threads, the list of all.
#pragma once

#include <atomic>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "server/http/http_server.h"
#include "server/metrics/http_metrics.h"

namespace krserve::server {

class Connection;

class Hub {
 public:
  Hub(const ServerConfig& server_config, HttpServer::EngineSource source,
      const HttpLimits& http_limits)
      : config(server_config), engine(std::move(source)), limits(http_limits) {}

  const ServerConfig config;
  const HttpServer::EngineSource engine;
  const HttpLimits limits;
  HttpMetrics metrics;
  const std::chrono::system_clock::time_point started = std::chrono::system_clock::now();
  std::atomic<bool> draining{false};
  // Parse, render and tokenize here: a long prompt must not delay /health.
  boost::asio::thread_pool workers{2};

  void add(const std::shared_ptr<Connection>& connection);
  void remove(Connection* connection);
  size_t connections() const;
  std::vector<std::shared_ptr<Connection>> snapshot() const;

  void request_begun();
  void request_ended();
  // False at `deadline` with requests still running, or when `give_up` is set and notified.
  bool wait_until_idle(std::chrono::steady_clock::time_point deadline,
                       const std::atomic<bool>& give_up);
  // False at `deadline` with connections still open.
  bool wait_until_empty(std::chrono::steady_clock::time_point deadline);
  void notify();

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::unordered_map<Connection*, std::weak_ptr<Connection>> connections_;
  size_t running_requests_ = 0;
};

}  // namespace krserve::server
