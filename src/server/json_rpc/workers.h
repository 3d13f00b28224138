// Threads for what must not hold up the reading of requests.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <thread>

namespace krserve::server::rpc {

// Runs jobs one after the other, in order of arrival. Jobs must not throw.
class SerialWorker {
 public:
  // Most bytes that waiting jobs may hold beside one of any size.
  static constexpr size_t kMaxBytes = size_t{64} << 20;
  static constexpr size_t kMaxJobs = 4096;

  SerialWorker();
  // Destroys jobs that have not begun.
  ~SerialWorker();
  SerialWorker(const SerialWorker&) = delete;
  SerialWorker& operator=(const SerialWorker&) = delete;

  // `bytes`: what the job holds. Throws OverloadError when too much waits.
  void post(size_t bytes, std::function<void()> job);

 private:
  struct Job {
    size_t bytes;
    std::function<void()> run;
  };
  void run();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  size_t bytes_ = 0;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses the others
};

// A thread for each job. One thread calls run().
class Threads {
 public:
  static constexpr size_t kMaxRunning = 32;

  Threads() = default;
  // Waits for all.
  ~Threads();
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

  // The job must not throw. Throws OverloadError when kMaxRunning are running.
  void run(std::function<void()> job);

 private:
  struct Running {
    std::atomic<bool> done{false};
    std::thread thread;
  };
  void reap();

  std::list<Running> running_;
};

}  // namespace krserve::server::rpc
