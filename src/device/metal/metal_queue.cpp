#include "device/metal/metal_queue.h"

#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "device/metal/metal_command_buffer.h"
#include "device/metal/metal_timeline.h"

namespace krserve {
namespace {

void check_points(const MetalContext& context, std::span<const TimelinePoint> points) {
  for (const TimelinePoint& point : points) {
    if (!point.timeline) continue;
    const auto* timeline = dynamic_cast<const MetalTimeline*>(point.timeline.get());
    if (timeline && &timeline->context() == &context) continue;
    throw DeviceError("metal_queue.commit", "a timeline is not of this device");
  }
}

}  // namespace

std::shared_ptr<MetalCommandBuffer> check_commit(const MetalContext& context,
                                                 const std::shared_ptr<CommandBuffer>& commands,
                                                 std::span<const TimelinePoint> waits,
                                                 std::span<const TimelinePoint> signals) {
  auto mine = std::dynamic_pointer_cast<MetalCommandBuffer>(commands);
  if (!mine || &mine->context() != &context) {
    throw DeviceError("metal_queue.commit", "the command buffer was not begun on this device");
  }
  check_points(context, waits);
  check_points(context, signals);
  return mine;
}

MetalQueue::MetalQueue(std::shared_ptr<MetalContext> context)
    : context_(std::move(context)),
      lane_(std::make_shared<MetalLane>(context_)),
      planner_(std::make_shared<MetalPlanner>(context_)) {
  context_->throw_if_lost("metal_device.new_queue");
  const std::lock_guard lock(context_->mutex);
  context_->lanes.push_back(lane_.get());
}

MetalQueue::~MetalQueue() {
  try {
    close();
  } catch (const std::exception& error) {
    log().error("[metal_queue.close] {}", error.what());
  }
}

void MetalQueue::close() {
  context_->update(
      [&] { lane_->fail_waiting("[metal_queue.close] the queue was destroyed before it ran"); });
  const auto over = [this] { return lane_->is_idle(); };
  const bool ended = context_->wait_until(over, context_->options.close_patience);
  context_->update([&] {
    if (!ended && !over()) {
      lane_->abandon(
          fmt::format("[metal_queue.close] the queue was destroyed and {} did not end within {} ms",
                      lane_->describe_running(), context_->options.close_patience.count()));
    }
    std::erase(context_->lanes, lane_.get());
  });
}

std::shared_ptr<CommandBuffer> MetalQueue::begin(CommandBufferUse use, std::string_view label) {
  return std::make_shared<MetalCommandBuffer>(context_, QueueKind::kCompute, use, label);
}

void MetalQueue::commit(const std::shared_ptr<CommandBuffer>& commands,
                        std::span<const TimelinePoint> waits,
                        std::span<const TimelinePoint> signals) {
  const auto mine = check_commit(*context_, commands, waits, signals);
  if (mine->kind() != QueueKind::kCompute) {
    throw DeviceError("metal_queue.commit", "the command buffer was begun on a copy queue");
  }
  MetalSubmission submission;
  submission.commands = mine;
  submission.waits.assign(waits.begin(), waits.end());
  submission.signals.assign(signals.begin(), signals.end());
  mine->lifecycle().mark_committed();
  try {
    mine->prepare(planner_);
    context_->update([&] {
      context_->throw_if_lost_locked("metal_queue.commit");
      lane_->add(std::move(submission));
    });
  } catch (...) {
    mine->lifecycle().take_back();
    throw;
  }
}

bool MetalQueue::wait_idle(std::chrono::nanoseconds timeout) {
  return context_->wait_until([this] { return lane_->is_idle(); }, timeout);
}

}  // namespace krserve
