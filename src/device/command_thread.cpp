#include "device/command_thread.h"

#include <utility>

#include "base/error.h"
#include "base/units.h"

namespace krserve {
namespace {

// How often work that waits for another queue looks whether its own is being destroyed.
constexpr std::chrono::milliseconds kStopPoll{20};

}  // namespace

CommandThread::CommandThread(std::string name, std::chrono::nanoseconds spin)
    : name_(std::move(name)), spin_ns_(static_cast<uint64_t>(spin.count())) {
  thread_ = std::thread([this] { loop(); });
}

CommandThread::~CommandThread() {
  {
    const std::lock_guard lock(mutex_);
    stopping_.store(true);
  }
  added_.notify_all();
  thread_.join();
}

void CommandThread::add(Work work) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(work));
    pending_.fetch_add(1, std::memory_order_release);
  }
  added_.notify_one();
}

bool CommandThread::wait_idle(std::chrono::nanoseconds timeout) {
  std::unique_lock lock(mutex_);
  const auto is_idle = [this] { return pending_.load(std::memory_order_acquire) == 0; };
  if (timeout == kNoTimeout) {
    idle_.wait(lock, is_idle);
    return true;
  }
  return idle_.wait_for(lock, timeout, is_idle);
}

void CommandThread::loop() {
  for (Work work; next(work); work = {}) {
    execute(work);
    {
      const std::lock_guard lock(mutex_);
      pending_.fetch_sub(1, std::memory_order_release);
    }
    idle_.notify_all();
  }
}

bool CommandThread::next(Work& out) {
  // The next step usually comes within microseconds: look for it before sleeping.
  const uint64_t deadline = now_ns() + spin_ns_;
  while (pending_.load(std::memory_order_acquire) == 0 && now_ns() < deadline && !is_stopping()) {
    std::this_thread::yield();
  }
  std::unique_lock lock(mutex_);
  added_.wait(lock, [this] { return !waiting_.empty() || stopping_.load(); });
  if (waiting_.empty()) return false;
  out = std::move(waiting_.front());
  waiting_.pop_front();
  return true;
}

void CommandThread::wait_for(const Work& work) const {
  for (const TimelinePoint& point : work.waits) {
    while (point.wait(kStopPoll) == WaitResult::kTimeout) {
      if (is_stopping()) {
        throw DeviceError(name_ + ".wait", "the queue was destroyed while it waited");
      }
    }
  }
}

void CommandThread::execute(const Work& work) {
  Timestamps times;
  try {
    wait_for(work);
    if (is_stopping()) {
      throw DeviceError(name_ + ".run", "the queue was destroyed before it ran");
    }
    times.start_ns = now_ns();
    work.run();
    times.end_ns = now_ns();
  } catch (const std::exception& error) {
    work.ended(false, {});
    for (const TimelinePoint& point : work.signals) {
      if (point.timeline) point.timeline->poison(error.what());
    }
    return;
  }
  work.ended(true, times);
  for (const TimelinePoint& point : work.signals) {
    if (point.timeline) point.timeline->signal(point.value);
  }
}

}  // namespace krserve
