// One client's session: its configuration, models and running calls.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "config/loader.h"
#include "server/json_rpc/call.h"
#include "server/json_rpc/generation.h"
#include "server/json_rpc/model_table.h"
#include "server/json_rpc/workers.h"

namespace krserve::server::rpc {

// Engine::create, or a stand-in.
using EngineFactory = std::function<std::unique_ptr<engine::Engine>(
    const RuntimeConfig&, const std::filesystem::path&, const engine::Engine::Progress&)>;

// What a load_model asks for.
struct LoadOrder {
  std::string model;  // directory, "tiny" or Hugging Face id
  std::string name;   // empty: by the configuration, the directory or the id
  RuntimeConfig config;
};

// Methods without another word belong to the thread that reads requests.
class Session {
 public:
  // Answers go to `out_fd`. `changed` (any thread) says that full(), broken() or ended() may have
  // changed.
  Session(LoadedConfig config, int out_fd, std::function<void()> changed,
          EngineFactory create_engine);
  // Cancels what still runs.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void handle(std::string_view frame);
  // A frame that was longer than max_frame_bytes().
  void refuse_long_frame(size_t bytes);
  // Ends generations that are past server.request_timeout_s.
  void check_time_limits();
  // Loads model.path, if there is one; a failure ends the session with exit code 1.
  void load_at_start();

  // Takes no new work, waits for the calls in flight for `limit`, cancels the rest; ended() then.
  // `shutdown`, if any, is the call to answer. Later ones change nothing.
  void begin_drain(std::chrono::milliseconds limit, CallPtr shutdown = nullptr);
  // Cancels everything: nobody is there any more. Any thread.
  void abandon();
  // Waits until the answers are written, for the rest of the drain's time and a moment at least.
  void flush();

  bool draining() const { return draining_; }  // any thread
  bool ended() const { return ended_; }
  int exit_code() const { return exit_code_; }
  bool full() const { return writer_.full(); }
  bool broken() const { return writer_.broken(); }
  size_t max_frame_bytes() const;
  std::chrono::milliseconds drain_timeout() const;
  double uptime_s() const;

  // For the methods.
  LoadedConfig& config() { return config_; }
  FrameWriter& writer() { return writer_; }
  ModelTable& models() { return models_; }
  Generations& generations() { return generations_; }
  SerialWorker& text_worker() { return *text_worker_; }
  // Throws RpcError kOverloaded.
  void refuse_while_draining() const;
  // Reserves the name and loads on a thread of its own. `call` is null for the one at start.
  void load(LoadOrder order, const CallPtr& call);
  void unload(const ModelPtr& model, std::chrono::milliseconds drain_limit, const CallPtr& call);

 private:
  void dispatch(Entry& entry, size_t bytes, const Call::Answer& answer);
  void load_now(const ModelPtr& place, const LoadOrder& order, const CallPtr& call);
  void load_failed(const ModelPtr& place, const CallPtr& call);
  void drain(std::chrono::milliseconds limit, const CallPtr& shutdown);
  void end(int exit_code);

  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  LoadedConfig config_;
  const std::function<void()> changed_;
  const EngineFactory create_engine_;
  std::atomic<bool> draining_{false};
  std::atomic<bool> abandoned_{false};
  std::atomic<bool> ended_{false};
  std::atomic<int> exit_code_{0};
  // In order of construction: what is destroyed later may still be told of by what goes earlier.
  OpenCalls open_;
  FrameWriter writer_;
  Generations generations_;
  ModelTable models_;
  std::unique_ptr<SerialWorker> text_worker_;
  std::unique_ptr<Threads> model_threads_;
  std::chrono::steady_clock::time_point drain_deadline_ = began_;
  std::thread drain_thread_;
};

}  // namespace krserve::server::rpc
