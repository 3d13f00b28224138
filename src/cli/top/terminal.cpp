#include "cli/top/terminal.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <string_view>

#include "base/error.h"

namespace krserve::cli {
namespace {

// Alternate screen, no cursor, no wrapping; and back. https://invisible-island.net/xterm/ctlseqs
constexpr std::string_view kEnter = "\033[?1049h\033[?25l\033[?7l";
constexpr std::string_view kLeave = "\033[?7h\033[?25h\033[?1049l";
constexpr std::string_view kHome = "\033[H";
constexpr std::string_view kClearToLineEnd = "\033[K";
constexpr std::string_view kClearBelow = "\033[J";
constexpr char kCtrlC = 3;
constexpr char kCtrlD = 4;
constexpr char kCtrlL = 12;

constexpr std::array<int, 4> kSignals = {SIGINT, SIGTERM, SIGHUP, SIGWINCH};

// Handlers can reach nothing else.
volatile std::sig_atomic_t g_stopped = 0;
volatile std::sig_atomic_t g_resized = 0;

void on_signal(int signal) {
  (signal == SIGWINCH ? g_resized : g_stopped) = 1;
}

void write_all(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(STDOUT_FILENO, text.data(), text.size());
    if (written < 0 && errno != EINTR) return;
    if (written > 0) text.remove_prefix(static_cast<size_t>(written));
  }
}

// https://no-color.org
bool wants_colour() {
  const char* no_colour = std::getenv("NO_COLOR");
  return no_colour == nullptr || *no_colour == '\0';
}

}  // namespace

Terminal::Terminal() : colour_(wants_colour()) {
  if (isatty(STDOUT_FILENO) != 1 || tcgetattr(STDIN_FILENO, &before_) != 0) {
    throw Error("top.terminal", "stdin and stdout must be a terminal; use --once or --json");
  }
  g_stopped = 0;
  g_resized = 0;
  struct sigaction action{};
  action.sa_handler = on_signal;  // without SA_RESTART: a wait ends
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &action, &old_[i]);
  termios raw = before_;
  raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG);
  raw.c_cc[VMIN] = 0;
  raw.c_cc[VTIME] = 0;
  tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
  write_all(kEnter);
}

Terminal::~Terminal() {
  write_all(kLeave);
  tcsetattr(STDIN_FILENO, TCSADRAIN, &before_);
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &old_[i], nullptr);
}

FrameSize Terminal::size() const {
  winsize window{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) != 0 || window.ws_row == 0 || window.ws_col == 0) {
    return {};
  }
  return {window.ws_row, window.ws_col};
}

void Terminal::show(const std::vector<Line>& lines) {
  std::string out(kHome);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += "\r\n";
    out += terminal_text(lines[i], colour_);
    out += kClearToLineEnd;
  }
  out += kClearBelow;
  write_all(out);
}

Terminal::Event Terminal::pending_signal() {
  if (g_stopped) return Event::kQuit;
  if (!g_resized) return Event::kNone;
  g_resized = 0;
  return Event::kResized;
}

Terminal::Event Terminal::read_key() {
  char key = 0;
  const ssize_t n = read(STDIN_FILENO, &key, 1);
  if (n == 0) return Event::kQuit;  // readable and nothing there: hung up
  if (n < 0) return errno == EINTR || errno == EAGAIN ? Event::kNone : Event::kQuit;
  if (key == 'q' || key == 'Q' || key == kCtrlC || key == kCtrlD) return Event::kQuit;
  if (key == ' ' || key == kCtrlL) return Event::kNow;
  return Event::kNone;
}

Terminal::Event Terminal::wait(std::chrono::milliseconds limit) {
  if (const Event event = pending_signal(); event != Event::kNone) return event;
  pollfd input{STDIN_FILENO, POLLIN, 0};
  const int ready = poll(&input, 1, static_cast<int>(limit.count()));
  if (const Event event = pending_signal(); event != Event::kNone) return event;
  return ready > 0 ? read_key() : Event::kNone;
}

}  // namespace krserve::cli
