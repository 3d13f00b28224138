// A pipe that wakes a thread out of poll().
#pragma once

namespace krserve::server::rpc {

class WakePipe {
 public:
  // Throws Error when the process has no file descriptors left.
  WakePipe();
  ~WakePipe();
  WakePipe(const WakePipe&) = delete;
  WakePipe& operator=(const WakePipe&) = delete;

  // Any thread, and a signal handler.
  void wake() const noexcept;
  // Readable after wake() until clear().
  int fd() const noexcept { return fds_[0]; }
  void clear() const noexcept;

 private:
  int fds_[2] = {-1, -1};
};

}  // namespace krserve::server::rpc
