// krserve top: a running server's pool, blit queue, ring and requests, again and again.
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/status_client.h"
#include "cli/top/json.h"
#include "cli/top/monitor.h"
#include "cli/top/terminal.h"

namespace krserve::cli {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using Json = nlohmann::json;

constexpr auto kPatience = std::chrono::seconds(5);
constexpr auto kLook = milliseconds(50);  // a signal just before a wait is seen after so long
constexpr FrameSize kPage{200, 200};      // of a frame that goes to no terminal

struct TopOptions {
  CommonOptions common;
  std::string server;
  double interval_s = 1;
  bool once = false;
  bool json = false;
};

struct Source {
  std::string url;
  std::string api_key;
  milliseconds interval;
};

std::string time_of_day() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  return fmt::format("{:%H:%M:%S}", local);
}

View view_of(const Monitor& monitor, const Source& source, bool interactive) {
  View view = monitor.view(Clock::now());
  view.url = source.url;
  view.clock = time_of_day();
  view.interval_s = std::chrono::duration<double>(source.interval).count();
  view.interactive = interactive;
  return view;
}

Snapshot ask(const Source& source, const std::function<bool()>& go_on = {}) {
  const Json status = fetch_status(source.url, source.api_key, kPatience, go_on);
  return parse_snapshot(status, Clock::now());
}

int print_once(const Source& source, bool json) {
  Monitor monitor;
  monitor.answered(ask(source));
  std::this_thread::sleep_for(source.interval);
  monitor.answered(ask(source));
  const View view = view_of(monitor, source, false);
  if (json) {
    fmt::print("{}\n", view_json(view).dump());
    return kExitOk;
  }
  for (const Line& line : make_frame(view, kPage)) fmt::print("{}\n", plain_text(line));
  return kExitOk;
}

void ask_for(Monitor& monitor, const Source& source, const std::function<bool()>& go_on = {}) {
  try {
    monitor.answered(ask(source, go_on));
  } catch (const UsageError&) {
    throw;  // an address that never works
  } catch (const Error& error) {
    monitor.failed(error.what());
  }
}

// A line for each reading, until nobody reads them any more.
int stream_json(const Source& source) {
  Monitor monitor;
  for (auto next = Clock::now();; std::this_thread::sleep_until(next)) {
    next += source.interval;
    ask_for(monitor, source);
    fmt::print("{}\n", view_json(view_of(monitor, source, false)).dump());
    if (std::fflush(stdout) != 0) {
      throw_error<Error>("top.write", "{}", std::generic_category().message(errno));
    }
  }
}

class Screen {
 public:
  explicit Screen(const Source& source) : source_(source) {}

  int run() {
    draw();
    while (!quit_) {
      const auto next = Clock::now() + source_.interval;
      try {
        ask_for(monitor_, source_, [this] { return look(milliseconds(0)); });
      } catch (const StatusAbandoned&) {
        break;
      }
      draw();
      asked_now_ = false;
      while (!quit_ && !asked_now_ && Clock::now() < next) look(kLook);
    }
    return kExitOk;
  }

 private:
  void draw() { terminal_.show(make_frame(view_of(monitor_, source_, true), terminal_.size())); }

  // False when it is time to go.
  bool look(milliseconds limit) {
    switch (terminal_.wait(limit)) {
      case Terminal::Event::kQuit:
        quit_ = true;
        break;
      case Terminal::Event::kNow:
        asked_now_ = true;
        break;
      case Terminal::Event::kResized:
        draw();
        break;
      case Terminal::Event::kNone:
        break;
    }
    return !quit_;
  }

  const Source& source_;
  Monitor monitor_;
  Terminal terminal_;
  bool quit_ = false;
  bool asked_now_ = false;
};

// Of the server that the same configuration would start, seen from this machine.
std::string default_url(const ServerConfig& server) {
  const bool everywhere = server.host == "0.0.0.0" || server.host == "::" || server.host.empty();
  const std::string host = everywhere ? "127.0.0.1" : server.host;
  const bool ipv6 = host.find(':') != std::string::npos;
  return fmt::format("http://{}{}{}:{}", ipv6 ? "[" : "", host, ipv6 ? "]" : "", server.port);
}

int run(TopOptions& options) {
  // Its warnings are about a server that is not started here.
  options.common.overrides.push_back({"logging.level", "error", "krserve top"});
  const ServerConfig server = options.common.load().values.server;
  const Source source{options.server.empty() ? default_url(server) : options.server, server.api_key,
                      milliseconds(static_cast<int64_t>(options.interval_s * 1000))};
  if (options.once) return print_once(source, options.json);
  if (options.json) return stream_json(source);
  return Screen(source).run();
}

}  // namespace

Command add_top(CLI::App& app) {
  auto options = std::make_shared<TopOptions>();
  app.add_option("--server", options->server,
                 "Server to watch, http://host:port (default: server.host and server.port)");
  app.add_option("--interval", options->interval_s, "Seconds between two readings (default 1)")
      ->check(CLI::Range(0.1, 3600.0));
  app.add_flag("--once", options->once, "Two readings, one frame of plain text, and done");
  app.add_flag("--json", options->json, "One JSON object a line instead of the screen");
  app.add_option("--config", options->common.config_file,
                 "Configuration file (default: config/runtime.yaml)");
  app.add_option("--set", options->common.sets, "Any setting, as path=value; may be repeated")
      ->allow_extra_args(false);
  options->common.add_setting(app, "--api-key", "server.api_key", "Key that the server asks for");
  return [options] { return run(*options); };
}

}  // namespace krserve::cli
