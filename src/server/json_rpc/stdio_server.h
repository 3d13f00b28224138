// JSON-RPC 2.0 over two file descriptors, one JSON value per line; see docs/JSON_RPC.md.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>

#include "config/loader.h"
#include "engine/engine.h"
#include "server/json_rpc/wake_pipe.h"

namespace krserve::server::rpc {

// Serves one client. Installs no signal handlers and leaves the file descriptors open.
class StdioServer {
 public:
  using EngineFactory = std::function<std::unique_ptr<engine::Engine>(
      const RuntimeConfig&, const std::filesystem::path&, const engine::Engine::Progress&)>;

  // `create_engine` replaces Engine::create (tests).
  StdioServer(LoadedConfig config, int in_fd, int out_fd, EngineFactory create_engine = {});

  // Loads model.path if there is one, and answers until the input ends, the client has gone,
  // shutdown() was called or stop(). Returns the exit code: 0, or 1 when model.path cannot be
  // loaded. Throws Error when there are no file descriptors left. Call once.
  int run();
  // Makes run() finish what is in flight (server.drain_timeout_s at most) and return. Any thread,
  // and a signal handler; before run() too.
  void stop() noexcept;

 private:
  LoadedConfig config_;
  const int in_fd_;
  const int out_fd_;
  const EngineFactory create_engine_;
  const WakePipe wake_;
  std::atomic<bool> stop_{false};
};

// run() alone, for callers that do not stop it.
int serve_stdio(LoadedConfig config, int in_fd, int out_fd);

}  // namespace krserve::server::rpc
