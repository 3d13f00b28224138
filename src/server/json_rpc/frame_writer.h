// Writes frames to a file descriptor from a thread of its own, so that a client that does not read
// holds nobody up.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "server/json_rpc/wake_pipe.h"

namespace krserve::server::rpc {

// Frames leave in the order of send() and post(). All methods may be called on any thread.
class FrameWriter {
 public:
  // Waiting answers beyond this say: read no more requests.
  static constexpr size_t kFullBytes = size_t{8} << 20;

  // `changed` is called when the reader of `fd` has gone and when full() has become false.
  FrameWriter(int fd, std::function<void()> changed);
  // Drops what has not been written.
  ~FrameWriter();
  FrameWriter(const FrameWriter&) = delete;
  FrameWriter& operator=(const FrameWriter&) = delete;

  // Never waits for the client.
  void send(std::string frame);
  // The frame is made when its turn has come, on the writer's thread; empty: none. It is called
  // even if nobody reads any more. Must not throw.
  void post(std::function<std::string()> make);

  // The reader of the file descriptor has gone.
  bool broken() const;
  bool full() const;
  // Everything given before is written, or lost to broken(); false when the time is over.
  bool flush(std::chrono::milliseconds limit);

 private:
  struct Item {
    std::string frame;
    std::function<std::string()> make;
  };

  void run();
  // False when the writer is being destroyed or nobody reads.
  bool write_all(std::string_view bytes);
  void break_off();

  const int fd_;
  const std::function<void()> changed_;
  WakePipe stop_pipe_;
  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::condition_variable written_;
  std::deque<Item> items_;
  size_t waiting_bytes_ = 0;
  bool busy_ = false;
  bool stopping_ = false;
  bool broken_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace krserve::server::rpc
