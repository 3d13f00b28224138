#include "device/cpu/cpu_queue.h"

#include "base/error.h"
#include "base/units.h"

namespace krserve {
namespace {

// How often a queue that waits for another looks whether it is being destroyed.
constexpr std::chrono::milliseconds kStopPoll{20};

}  // namespace

CpuQueue::CpuQueue(QueueKind kind, uint32_t spin_us, Runner runner)
    : kind_(kind), spin_ns_(uint64_t{spin_us} * 1000), runner_(std::move(runner)) {
  thread_ = std::thread([this] { thread_loop(); });
}

CpuQueue::~CpuQueue() {
  {
    const std::lock_guard lock(mutex_);
    stopping_.store(true);
  }
  work_.notify_all();
  thread_.join();
}

std::shared_ptr<CommandBuffer> CpuQueue::begin(CommandBufferUse use, std::string_view label) {
  return std::make_shared<CpuCommandBuffer>(use, label);
}

void CpuQueue::commit(const std::shared_ptr<CommandBuffer>& commands,
                      std::span<const TimelinePoint> waits,
                      std::span<const TimelinePoint> signals) {
  auto list = std::dynamic_pointer_cast<CpuCommandBuffer>(commands);
  if (!list) {
    throw DeviceError("cpu_queue.commit", "the command buffer was not begun on this device");
  }
  list->lifecycle().mark_committed();
  {
    const std::lock_guard lock(mutex_);
    submissions_.push_back(
        {std::move(list), {waits.begin(), waits.end()}, {signals.begin(), signals.end()}});
    pending_.fetch_add(1, std::memory_order_release);
  }
  work_.notify_one();
}

bool CpuQueue::wait_idle(std::chrono::nanoseconds timeout) {
  std::unique_lock lock(mutex_);
  const auto is_idle = [this] { return pending_.load(std::memory_order_acquire) == 0; };
  if (timeout == kNoTimeout) {
    idle_.wait(lock, is_idle);
    return true;
  }
  return idle_.wait_for(lock, timeout, is_idle);
}

void CpuQueue::thread_loop() {
  for (Submission submission; next(submission); submission = {}) {
    execute(submission);
    {
      const std::lock_guard lock(mutex_);
      pending_.fetch_sub(1, std::memory_order_release);
    }
    idle_.notify_all();
  }
}

bool CpuQueue::next(Submission& out) {
  // The next step usually comes within microseconds: look for it before sleeping.
  const uint64_t deadline = now_ns() + spin_ns_;
  while (pending_.load(std::memory_order_acquire) == 0 && now_ns() < deadline &&
         !stopping_.load(std::memory_order_relaxed)) {
    std::this_thread::yield();
  }
  std::unique_lock lock(mutex_);
  work_.wait(lock, [this] { return !submissions_.empty() || stopping_.load(); });
  if (submissions_.empty()) return false;
  out = std::move(submissions_.front());
  submissions_.pop_front();
  return true;
}

void CpuQueue::wait_for(const Submission& submission) const {
  for (const TimelinePoint& point : submission.waits) {
    while (point.wait(kStopPoll) == WaitResult::kTimeout) {
      if (stopping_.load(std::memory_order_relaxed)) {
        throw DeviceError("cpu_queue.wait", "the queue was destroyed while it waited");
      }
    }
  }
}

void CpuQueue::execute(Submission& submission) {
  Timestamps times;
  try {
    wait_for(submission);
    if (stopping_.load(std::memory_order_relaxed)) {
      throw DeviceError("cpu_queue.run", "the queue was destroyed before it ran");
    }
    times.start_ns = now_ns();
    runner_(*submission.commands);
    times.end_ns = now_ns();
  } catch (const std::exception& error) {
    submission.commands->mark_ended(false, {});
    for (const TimelinePoint& point : submission.signals) {
      if (point.timeline) point.timeline->poison(error.what());
    }
    return;
  }
  submission.commands->mark_ended(true, times);
  for (const TimelinePoint& point : submission.signals) {
    if (point.timeline) point.timeline->signal(point.value);
  }
}

}  // namespace krserve
