// The terminal of krserve top: a screen of its own, keys without echo, and all as it was
// afterwards.
#pragma once

#include <termios.h>

#include <chrono>
#include <csignal>
#include <string>
#include <vector>

#include "cli/top/frame.h"

namespace krserve::cli {

// One at a time in a process: it owns SIGINT, SIGTERM, SIGHUP and SIGWINCH while it lives. Throws
// Error unless both stdin and stdout are terminals.
class Terminal {
 public:
  Terminal();
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  FrameSize size() const;
  // Replaces what is on the screen.
  void show(const std::vector<Line>& lines);

  enum class Event { kNone, kQuit, kNow, kResized };
  // The next key or signal within `limit`. Ctrl-C, q and the terminal's end are kQuit.
  Event wait(std::chrono::milliseconds limit);

 private:
  Event pending_signal();
  Event read_key();

  const bool colour_;
  termios before_{};
  struct sigaction old_[4]{};
};

}  // namespace krserve::cli
