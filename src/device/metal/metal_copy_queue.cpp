#include "device/metal/metal_copy_queue.h"

#include <cstring>

#include "base/error.h"
#include "base/units.h"
#include "device/metal/metal_command_buffer.h"
#include "device/metal/metal_queue.h"
#include "device/metal/metal_transfer.h"

namespace krserve {
namespace {

// How often a queue that waits for another looks whether it is being destroyed.
constexpr std::chrono::milliseconds kStopPoll{20};

}  // namespace

MetalCopyQueue::MetalCopyQueue(std::shared_ptr<MetalContext> context, QueueKind kind)
    : context_(std::move(context)), kind_(kind) {
  context_->throw_if_lost("metal_device.new_queue");
  thread_ = std::thread([this] { thread_loop(); });
}

MetalCopyQueue::~MetalCopyQueue() {
  {
    const std::lock_guard lock(mutex_);
    stopping_.store(true);
  }
  work_.notify_all();
  thread_.join();
}

std::shared_ptr<CommandBuffer> MetalCopyQueue::begin(CommandBufferUse use, std::string_view label) {
  return std::make_shared<MetalCommandBuffer>(context_, kind_, use, label);
}

void MetalCopyQueue::commit(const std::shared_ptr<CommandBuffer>& commands,
                            std::span<const TimelinePoint> waits,
                            std::span<const TimelinePoint> signals) {
  auto mine = check_commit(*context_, commands, waits, signals);
  if (mine->kind() == QueueKind::kCompute) {
    throw DeviceError("metal_queue.commit", "the command buffer was begun on a compute queue");
  }
  mine->lifecycle().mark_committed();
  {
    const std::lock_guard lock(mutex_);
    submissions_.push_back(
        {std::move(mine), {waits.begin(), waits.end()}, {signals.begin(), signals.end()}});
    ++pending_;
  }
  work_.notify_one();
}

bool MetalCopyQueue::wait_idle(std::chrono::nanoseconds timeout) {
  std::unique_lock lock(mutex_);
  const auto is_idle = [this] { return pending_ == 0; };
  if (timeout == kNoTimeout) {
    idle_.wait(lock, is_idle);
    return true;
  }
  return idle_.wait_for(lock, timeout, is_idle);
}

void MetalCopyQueue::thread_loop() {
  for (Submission submission; next(submission); submission = {}) {
    execute(submission);
    {
      const std::lock_guard lock(mutex_);
      --pending_;
    }
    idle_.notify_all();
  }
  transfer_.reset();
}

bool MetalCopyQueue::next(Submission& out) {
  std::unique_lock lock(mutex_);
  work_.wait(lock, [this] { return !submissions_.empty() || stopping_.load(); });
  if (submissions_.empty()) return false;
  out = std::move(submissions_.front());
  submissions_.pop_front();
  return true;
}

void MetalCopyQueue::wait_for(const Submission& submission) const {
  for (const TimelinePoint& point : submission.waits) {
    while (point.wait(kStopPoll) == WaitResult::kTimeout) {
      if (stopping_.load(std::memory_order_relaxed)) {
        throw DeviceError("metal_queue.wait", "the queue was destroyed while it waited");
      }
    }
  }
}

void MetalCopyQueue::execute(const Submission& submission) {
  Timestamps times;
  try {
    wait_for(submission);
    if (stopping_.load(std::memory_order_relaxed)) {
      throw DeviceError("metal_queue.run", "the queue was destroyed before it ran");
    }
    times.start_ns = now_ns();
    run(*submission.commands);
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

void MetalCopyQueue::run(const MetalCommandBuffer& commands) {
  for (const MetalCommand& command : commands.list().commands()) {
    const bool fill = command.kind == MetalCommand::Kind::kFill;
    if (fill && command.dst.host) {
      std::memset(command.dst.host, command.fill_value, command.bytes);
    } else if (!fill && command.dst.host && command.src.host) {
      std::memcpy(command.dst.host, command.src.host, command.bytes);
    } else {
      if (!transfer_) transfer_ = std::make_unique<MetalTransfer>(context_);
      transfer_->run(command);
    }
  }
}

}  // namespace krserve
