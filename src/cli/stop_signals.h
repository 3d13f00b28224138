// SIGINT and SIGTERM as something to wait for.
#pragma once

#include <csignal>

namespace krserve::cli {

// Blocks the two in every thread made after this; SIGPIPE is ignored from then on.
class StopSignals {
 public:
  StopSignals();

  // The signal that came, or kWoken.
  int wait();
  static constexpr int kWoken = SIGUSR1;
  // Ends wait() from another thread.
  static void wake();

 private:
  sigset_t set_{};
};

}  // namespace krserve::cli
