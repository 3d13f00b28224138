// The HTTP server: OpenAI's API, health and metrics in front of one engine.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "config/runtime_config.h"

namespace krserve::engine {
class Engine;
}

namespace krserve::server {

// Bounds that are no settings; tests make them small.
struct HttpLimits {
  std::chrono::milliseconds header_time{30'000};       // first byte to the end of the header
  std::chrono::milliseconds body_stall_time{30'000};   // between two pieces of a body
  std::chrono::milliseconds idle_time{75'000};         // between two requests
  std::chrono::milliseconds write_stall_time{60'000};  // without a byte taken by the client
  std::chrono::milliseconds linger_time{3'000};        // for the client to read a last answer
  size_t header_bytes = 32 * 1024;
  size_t unsent_bytes = 1024 * 1024;   // a stream further behind is cancelled
  size_t pipelined_bytes = 64 * 1024;  // received ahead of its turn; more closes the connection
};

class HttpServer {
 public:
  // Null while the model is loading; once not null, the engine must outlive stop(). Any thread.
  using EngineSource = std::function<engine::Engine*()>;

  HttpServer(const ServerConfig& config, EngineSource engine, const HttpLimits& limits = {});
  ~HttpServer();  // stop()
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Binds and answers from now on; returns the port. Throws Error if the address cannot be bound.
  uint16_t start();
  // Accepts no more connections, refuses new requests with 503, waits for the running ones. False
  // if some were still running after drain_timeout_s or stop() was called. Blocks; once only.
  bool drain();
  // Cancels what still runs and ends the threads. Any thread but the server's own.
  void stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace krserve::server
