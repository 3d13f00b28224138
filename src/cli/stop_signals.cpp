#include "cli/stop_signals.h"

#include <unistd.h>

namespace krserve::cli {

StopSignals::StopSignals() {
  sigemptyset(&set_);
  sigaddset(&set_, SIGINT);
  sigaddset(&set_, SIGTERM);
  sigaddset(&set_, kWoken);
  pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

int StopSignals::wait() {
  int signal = 0;
  sigwait(&set_, &signal);
  return signal;
}

void StopSignals::wake() {
  kill(getpid(), kWoken);
}

}  // namespace krserve::cli
