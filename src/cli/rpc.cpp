// krserve rpc: JSON-RPC 2.0 over stdin and stdout, until either ends, shutdown, SIGINT or SIGTERM.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>

#include "base/error.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/stop_signals.h"
#include "server/json_rpc/stdio_server.h"

namespace krserve::cli {
namespace {

// The frames' own descriptor; whatever else is printed to stdout from now on goes to stderr.
int take_stdout() {
  const int frames = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
  if (frames < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0) {
    throw_error<Error>("cli.rpc", "stdout or stderr is not open: {}", std::strerror(errno));
  }
  return frames;
}

// Stops the server at the first signal and the process at the second.
class SignalThread {
 public:
  SignalThread(StopSignals& signals, server::rpc::StdioServer& server)
      : thread_([&signals, &server] {
          const int signal = signals.wait();
          if (signal == StopSignals::kWoken) return;
          log().info("[json_rpc.stop] {}: finishing what is in flight", strsignal(signal));
          server.stop();
          if (signals.wait() != StopSignals::kWoken) _exit(kExitFailure);
        }) {}
  ~SignalThread() {
    StopSignals::wake();
    thread_.join();
  }
  SignalThread(const SignalThread&) = delete;
  SignalThread& operator=(const SignalThread&) = delete;

 private:
  std::thread thread_;
};

int run(const CommonOptions& common) {
  StopSignals signals;
  const int frames = take_stdout();
  server::rpc::StdioServer server(common.load(), STDIN_FILENO, frames);
  const SignalThread stops(signals, server);
  return server.run();
}

}  // namespace

Command add_rpc(CLI::App& app) {
  auto common = std::make_shared<CommonOptions>();
  common->add_to(app);
  common->add_setting(app, "--parallel", "engine.parallel", "Sequences stepped together");
  return [common] { return run(*common); };
}

}  // namespace krserve::cli
