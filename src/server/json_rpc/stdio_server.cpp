#include "server/json_rpc/stdio_server.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "server/json_rpc/line_reader.h"
#include "server/json_rpc/session.h"

namespace krserve::server::rpc {
namespace {

constexpr size_t kReadBytes = 64 * 1024;
// How often time limits of requests are looked at.
constexpr int kTickMs = 100;

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

// Takes frames from the file descriptor to the session.
class Input {
 public:
  Input(int fd, Session& session)
      : fd_(fd), session_(session), lines_(session.max_frame_bytes()), buffer_(kReadBytes, '\0') {}

  bool open() const { return open_; }
  void close() {
    open_ = false;
    closed_ = std::chrono::steady_clock::now();
  }
  bool closed_for(std::chrono::milliseconds time) const {
    return !open_ && std::chrono::steady_clock::now() - closed_ > time;
  }

  // Reads once; a read that would block must have been waited for.
  void read_some() {
    const auto count = read(fd_, buffer_.data(), buffer_.size());
    if (count > 0) {
      lines_.add({buffer_.data(), static_cast<size_t>(count)});
    } else if (count == 0 || (errno != EINTR && errno != EAGAIN)) {
      if (count < 0) log().warn("[json_rpc.read] {}", std::strerror(errno));
      lines_.finish();
      close();
    }
  }

  // Until the answers of the client wait for it to read them; false then.
  bool handle_lines() {
    while (!session_.full()) {
      const auto line = lines_.next();
      if (!line) return true;
      handle(*line);
      lines_.set_limit(session_.max_frame_bytes());
    }
    return false;
  }

 private:
  void handle(const LineReader::Line& line) {
    if (line.skipped_bytes > 0) {
      session_.refuse_long_frame(line.skipped_bytes);
    } else if (!is_blank(line.text)) {
      session_.handle(line.text);
    }
  }

  const int fd_;
  Session& session_;
  LineReader lines_;
  std::string buffer_;
  bool open_ = true;
  std::chrono::steady_clock::time_point closed_;
};

std::unique_ptr<engine::Engine> make_engine(const RuntimeConfig& config,
                                            const std::filesystem::path& path,
                                            const engine::Engine::Progress& progress) {
  return engine::Engine::create(config, path, progress);
}

}  // namespace

StdioServer::StdioServer(LoadedConfig config, int in_fd, int out_fd, EngineFactory create_engine)
    : config_(std::move(config)),
      in_fd_(in_fd),
      out_fd_(out_fd),
      create_engine_(create_engine ? std::move(create_engine) : make_engine) {}

int StdioServer::run() {
  Session session(config_, out_fd_, [this] { wake_.wake(); }, create_engine_);
  session.load_at_start();
  Input input(in_fd_, session);
  while (!session.ended()) {
    if (stop_ && !session.draining()) {
      input.close();
      session.begin_drain(session.drain_timeout());
    }
    const bool room = input.handle_lines();
    // A client that has sent all and reads none gets no more time than one that waits.
    if (!input.open() && (room || input.closed_for(session.drain_timeout()))) {
      session.begin_drain(session.drain_timeout());
    }
    // A negative descriptor is left out; of the output, errors alone are of interest.
    pollfd fds[3] = {
        {wake_.fd(), POLLIN, 0}, {input.open() && room ? in_fd_ : -1, POLLIN, 0}, {out_fd_, 0, 0}};
    if (poll(fds, 3, kTickMs) < 0 && errno != EINTR) {
      throw_error<Error>("json_rpc.read", "poll: {}", std::strerror(errno));
    }
    if (fds[0].revents != 0) wake_.clear();
    const bool client_gone = (fds[2].revents & (POLLERR | POLLHUP | POLLNVAL)) != 0;
    if (client_gone || session.broken()) {
      log().info("[json_rpc.serve] the client has gone; everything is cancelled");
      session.abandon();
      return session.exit_code();
    }
    if (fds[1].revents != 0) input.read_some();
    session.check_time_limits();
  }
  session.flush();
  return session.exit_code();
}

void StdioServer::stop() noexcept {
  stop_ = true;
  wake_.wake();
}

int serve_stdio(LoadedConfig config, int in_fd, int out_fd) {
  return StdioServer(std::move(config), in_fd, out_fd).run();
}

}  // namespace krserve::server::rpc
