// A thread that carries out command buffers in commit order: queues whose work the host does.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "device/queue.h"

namespace krserve {

class CommandThread {
 public:
  struct Work {
    std::function<void()> run;  // throws to fail it
    std::function<void(bool completed, Timestamps times)> ended;
    std::vector<TimelinePoint> waits;
    std::vector<TimelinePoint> signals;
  };

  // `name` of the queue, for errors. For `spin` after each work the thread looks for the next
  // before it sleeps.
  CommandThread(std::string name, std::chrono::nanoseconds spin);
  // Ends the work that runs; what has not begun fails.
  ~CommandThread();
  CommandThread(const CommandThread&) = delete;
  CommandThread& operator=(const CommandThread&) = delete;

  // Starts after all waits are reached. At its end, `ended` comes before the signals.
  void add(Work work);
  bool wait_idle(std::chrono::nanoseconds timeout);
  // A run that waits for something else must give up then.
  bool is_stopping() const { return stopping_.load(std::memory_order_relaxed); }

 private:
  void loop();
  bool next(Work& out);
  void wait_for(const Work& work) const;
  void execute(const Work& work);

  const std::string name_;
  const uint64_t spin_ns_;
  std::mutex mutex_;
  std::condition_variable added_;
  std::condition_variable idle_;
  std::deque<Work> waiting_;
  std::atomic<uint32_t> pending_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace krserve
