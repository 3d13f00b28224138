#include "server/json_rpc/workers.h"

#include <utility>

#include "base/error.h"

namespace krserve::server::rpc {

SerialWorker::SerialWorker() : thread_([this] { run(); }) {}

SerialWorker::~SerialWorker() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void SerialWorker::post(size_t bytes, std::function<void()> job) {
  const std::lock_guard lock(mutex_);
  const bool too_much = !jobs_.empty() && (bytes_ + bytes > kMaxBytes || jobs_.size() >= kMaxJobs);
  if (too_much) {
    throw_error<OverloadError>("json_rpc.worker",
                               "{} requests with {} bytes wait to be tokenized; try again later",
                               jobs_.size(), bytes_);
  }
  bytes_ += bytes;
  jobs_.push_back({bytes, std::move(job)});
  changed_.notify_one();
}

void SerialWorker::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (stopping_) return;
    {
      const Job job = std::move(jobs_.front());
      jobs_.pop_front();
      bytes_ -= job.bytes;
      lock.unlock();
      job.run();
    }
    lock.lock();
  }
}

Threads::~Threads() {
  for (Running& one : running_) one.thread.join();
}

void Threads::run(std::function<void()> job) {
  reap();
  if (running_.size() >= kMaxRunning) {
    throw_error<OverloadError>("json_rpc.load",
                               "{} models are being loaded or unloaded; try again later",
                               running_.size());
  }
  Running& one = running_.emplace_back();
  one.thread = std::thread([&one, work = std::move(job)]() mutable {
    work();
    work = nullptr;  // lets go of what it holds before it counts as done
    one.done = true;
  });
}

void Threads::reap() {
  for (auto one = running_.begin(); one != running_.end();) {
    if (!one->done) {
      ++one;
      continue;
    }
    one->thread.join();
    one = running_.erase(one);
  }
}

}  // namespace krserve::server::rpc
