// krserve serve: the HTTP server around one model, until SIGINT or SIGTERM.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <exception>
#include <memory>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "cli/stop_signals.h"
#include "engine/engine.h"
#include "hub/model_name.h"
#include "hub/resolve_model.h"
#include "runtime/trace/trace.h"
#include "server/http/http_server.h"

namespace krserve::cli {
namespace {

// Loads, and fetches before it where the model is an id, on a thread of its own, so that /health
// answers meanwhile.
class Loader {
 public:
  Loader(const RuntimeConfig& config, std::shared_ptr<runtime::TraceRecorder> trace)
      : trace_(std::move(trace)), thread_([this, config] { load(config); }) {}
  ~Loader() { join(); }
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  engine::Engine* engine() const { return ready_.load(std::memory_order_acquire); }
  std::exception_ptr failure() const { return failed_.load() ? failure_ : nullptr; }
  // Ends a download; loading itself is waited for.
  void stop_fetching() { stopped_.store(true); }
  void join() {
    if (thread_.joinable()) thread_.join();
  }
  void destroy_engine() { engine_.reset(); }

 private:
  std::filesystem::path fetch(const RuntimeConfig& config) {
    ProgressBar bar("fetching");
    return hub::resolve_model(config.model.path, [&](double fraction, const std::string& what) {
      if (stopped_.load()) throw Error("server.stop", "stopped while the model was fetched");
      bar.update(fraction, what);
    });
  }

  void load(const RuntimeConfig& config) {
    try {
      const auto dir = fetch(config);
      ProgressBar bar("loading");
      engine_ = engine::Engine::create(
          config, dir,
          [&](double fraction, const std::string& what) { bar.update(fraction, what); }, nullptr,
          trace_);
      ready_.store(engine_.get(), std::memory_order_release);
    } catch (...) {
      if (stopped_.load()) return;  // a wake now would look like a second signal
      failure_ = std::current_exception();
      failed_.store(true);
      StopSignals::wake();
    }
  }

  const std::shared_ptr<runtime::TraceRecorder> trace_;
  std::unique_ptr<engine::Engine> engine_;
  std::atomic<engine::Engine*> ready_{nullptr};
  std::atomic<bool> failed_{false};
  std::atomic<bool> stopped_{false};
  std::exception_ptr failure_;
  std::thread thread_;  // last: it uses the others
};

std::string url(const ServerConfig& server, uint16_t port) {
  const bool ipv6 = server.host.find(':') != std::string::npos;
  return fmt::format("http://{}{}{}:{}", ipv6 ? "[" : "", server.host, ipv6 ? "]" : "", port);
}

int run(const CommonOptions& common, const std::string& trace_file) {
  StopSignals signals;
  const LoadedConfig config = common.load();
  hub::local_model(model_argument(config.values));  // a wrong name ends here
  std::atomic<Loader*> loader_view{nullptr};
  server::HttpServer server(config.values.server, [&loader_view]() -> engine::Engine* {
    const Loader* loader = loader_view.load();
    return loader ? loader->engine() : nullptr;
  });
  const uint16_t port = server.start();
  std::printf("listening on %s\n", url(config.values.server, port).c_str());
  std::fflush(stdout);
  const auto trace = trace_file.empty() ? nullptr : std::make_shared<runtime::TraceRecorder>();
  Loader loader(config.values, trace);
  loader_view.store(&loader);

  const int signal = signals.wait();
  if (loader.failure()) {
    server.stop();
    std::rethrow_exception(loader.failure());
  }
  log().info("[server.stop] {}: finishing the running requests (at most {} s)", strsignal(signal),
             config.values.server.drain_timeout_s);
  // A second signal ends at once.
  std::thread([] {
    StopSignals second;
    second.wait();
    _exit(kExitFailure);
  }).detach();
  loader.stop_fetching();
  const bool drained = server.drain();
  server.stop();
  loader.join();
  loader.destroy_engine();
  if (trace) trace->write(trace_file);
  if (!drained) log().warn("[server.stop] some requests did not finish in time");
  return kExitOk;
}

}  // namespace

Command add_serve(CLI::App& app) {
  auto common = std::make_shared<CommonOptions>();
  common->add_to(app);
  common->add_setting(app, "--host", "server.host", "Address to listen on");
  common->add_setting(app, "--port", "server.port", "Port; 0 = any free one");
  common->add_setting(app, "--api-key", "server.api_key", "Key that clients must send");
  common->add_setting(app, "--parallel", "engine.parallel", "Sequences stepped together");
  auto trace_file = std::make_shared<std::string>();
  app.add_option("--trace", *trace_file,
                 "Write a trace (Chrome, Perfetto) of the last events to this file when stopping");
  return [common, trace_file] { return run(*common, *trace_file); };
}

}  // namespace krserve::cli
