#include "server/json_rpc/wake_pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"

namespace krserve::server::rpc {

WakePipe::WakePipe() {
  if (pipe(fds_) != 0) throw_error<Error>("json_rpc.wake", "pipe: {}", std::strerror(errno));
  for (const int fd : fds_) {
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_NONBLOCK);
  }
}

WakePipe::~WakePipe() {
  for (const int fd : fds_) close(fd);
}

void WakePipe::wake() const noexcept {
  const int saved = errno;
  // A full pipe wakes as well.
  [[maybe_unused]] const auto written = write(fds_[1], "", 1);
  errno = saved;
}

void WakePipe::clear() const noexcept {
  char bytes[64];
  while (read(fds_[0], bytes, sizeof(bytes)) > 0) {
  }
}

}  // namespace krserve::server::rpc
