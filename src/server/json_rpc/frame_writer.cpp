#include "server/json_rpc/frame_writer.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <utility>

#include "base/log.h"

namespace krserve::server::rpc {
namespace {

// A pipe that poll() calls writable takes this much without blocking. So the descriptor, which
// others may share, need not be made non-blocking.
constexpr size_t kPieceBytes = PIPE_BUF;

// A write to a closed pipe is an error here, whatever the process does with the signal.
void block_sigpipe() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

}  // namespace

FrameWriter::FrameWriter(int fd, std::function<void()> changed)
    : fd_(fd), changed_(std::move(changed)), thread_([this] { run(); }) {}

FrameWriter::~FrameWriter() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  arrived_.notify_all();
  stop_pipe_.wake();
  thread_.join();
  // What goes with the items may send in its destructor.
  broken_ = true;
  const std::deque<Item> dropped = std::exchange(items_, {});
}

void FrameWriter::send(std::string frame) {
  frame += '\n';
  const std::lock_guard lock(mutex_);
  if (broken_) return;
  waiting_bytes_ += frame.size();
  items_.push_back({std::move(frame), {}});
  arrived_.notify_one();
}

void FrameWriter::post(std::function<std::string()> make) {
  const std::lock_guard lock(mutex_);
  if (stopping_) return;
  items_.push_back({{}, std::move(make)});
  arrived_.notify_one();
}

bool FrameWriter::broken() const {
  const std::lock_guard lock(mutex_);
  return broken_;
}

bool FrameWriter::full() const {
  const std::lock_guard lock(mutex_);
  return waiting_bytes_ > kFullBytes;
}

bool FrameWriter::flush(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  return written_.wait_for(lock, limit, [this] { return items_.empty() && !busy_; });
}

void FrameWriter::run() {
  block_sigpipe();
  std::unique_lock lock(mutex_);
  for (;;) {
    arrived_.wait(lock, [this] { return stopping_ || !items_.empty(); });
    if (stopping_) return;
    Item item = std::move(items_.front());
    items_.pop_front();
    busy_ = true;
    const bool gone = broken_;
    lock.unlock();
    if (item.make) {
      const std::string made = item.make();
      if (!made.empty() && !gone) write_all(made + '\n');
    } else if (!gone) {
      write_all(item.frame);
    }
    lock.lock();
    busy_ = false;
    const bool was_full = waiting_bytes_ > kFullBytes;
    waiting_bytes_ -= item.frame.size();
    if (items_.empty()) written_.notify_all();
    if (was_full && waiting_bytes_ <= kFullBytes) changed_();
  }
}

bool FrameWriter::write_all(std::string_view bytes) {
  while (!bytes.empty()) {
    pollfd fds[2] = {{fd_, POLLOUT, 0}, {stop_pipe_.fd(), POLLIN, 0}};
    if (poll(fds, 2, -1) < 0) {
      if (errno == EINTR) continue;
      break_off();
      return false;
    }
    if (fds[1].revents != 0) return false;
    const auto count = write(fd_, bytes.data(), std::min(bytes.size(), kPieceBytes));
    if (count >= 0) {
      bytes.remove_prefix(static_cast<size_t>(count));
    } else if (errno != EINTR && errno != EAGAIN) {
      log().warn("[json_rpc.write] nobody reads the answers any more: {}", std::strerror(errno));
      break_off();
      return false;
    }
  }
  return true;
}

void FrameWriter::break_off() {
  {
    const std::lock_guard lock(mutex_);
    broken_ = true;
  }
  changed_();
}

}  // namespace krserve::server::rpc
