// Runs the callbacks of one direction's transfers, in order, on a thread of its own.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "runtime/blit_queue/transfers.h"

namespace krserve::runtime {

class CallbackThread {
 public:
  // Waits for a transfer for a short while; throws DeviceError if it failed.
  using Wait = std::function<WaitResult(BlitId)>;

  explicit CallbackThread(Wait wait) : wait_(std::move(wait)) {}
  ~CallbackThread() { stop(); }
  CallbackThread(const CallbackThread&) = delete;
  CallbackThread& operator=(const CallbackThread&) = delete;

  // The thread starts with the first.
  void post(BlitId id, BlitCallback callback);
  // Its callback gets an error, if it has not been called yet.
  void cancel(BlitId id);
  // What is left gets an error. Nothing may be posted from then on.
  void stop();

 private:
  struct Entry {
    BlitId id;
    BlitCallback callback;
    bool cancelled;
  };

  void run();
  std::optional<std::string> outcome(BlitId id);
  // Cancelled, or everything is being stopped.
  std::optional<std::string> given_up();

  const Wait wait_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Entry> entries_;  // the front one is being waited for
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace krserve::runtime
