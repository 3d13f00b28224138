#include "device/cuda/cuda_queue.h"

#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "device/cuda/cuda_command_buffer.h"
#include "device/cuda/cuda_timeline.h"

namespace krserve {
CudaQueue::CudaQueue(std::shared_ptr<CudaContext> context, QueueKind kind)
    : context_(std::move(context)) {
  context_->throw_if_lost("cuda_device.new_queue");
  context_->make_current();
  lane_ = std::make_shared<CudaLane>(*context_, kind);
  planner_ = std::make_shared<CudaPlanner>(context_, lane_->stream());
  const std::lock_guard lock(context_->mutex);
  context_->lanes.push_back(lane_.get());
}

CudaQueue::~CudaQueue() {
  try {
    close();
  } catch (const std::exception& error) {
    log().error("[cuda_queue.close] {}", error.what());
  }
}

void CudaQueue::close() {
  {
    const std::lock_guard lock(context_->mutex);
    lane_->fail_waiting("[cuda_queue.close] the queue was destroyed before it ran");
  }
  const auto over = [this] { return lane_->is_idle(); };
  const bool ended = context_->wait_until(over, context_->close_patience);
  const std::lock_guard lock(context_->mutex);
  if (!ended && !over()) abandon();
  std::erase(context_->lanes, lane_.get());
  context_->poll();
  context_->changed.notify_all();
  lane_.reset();
}

void CudaQueue::abandon() {
  const std::string why =
      fmt::format("[cuda_queue.close] the queue was destroyed and {} did not end within {} ms",
                  lane_->describe_running(), context_->close_patience.count() / 1'000'000);
  using Uses = std::pair<std::shared_ptr<CudaPlanner>, std::deque<CudaSubmission>>;
  context_->abandoned.push_back(
      {lane_, std::make_shared<Uses>(planner_, lane_->take_running(why))});
}

std::shared_ptr<CommandBuffer> CudaQueue::begin(CommandBufferUse use, std::string_view label) {
  return std::make_shared<CudaCommandBuffer>(context_, use, label);
}

void CudaQueue::check_points(std::span<const TimelinePoint> points) const {
  for (const TimelinePoint& point : points) {
    if (!point.timeline) continue;
    const auto* timeline = dynamic_cast<const CudaTimeline*>(point.timeline.get());
    if (timeline && &timeline->context() == context_.get()) continue;
    throw DeviceError("cuda_queue.commit", "a timeline is not of this device");
  }
}

void CudaQueue::commit(const std::shared_ptr<CommandBuffer>& commands,
                       std::span<const TimelinePoint> waits,
                       std::span<const TimelinePoint> signals) {
  auto mine = std::dynamic_pointer_cast<CudaCommandBuffer>(commands);
  if (!mine || &mine->context() != context_.get()) {
    throw DeviceError("cuda_queue.commit", "the command buffer was not begun on this device");
  }
  check_points(waits);
  check_points(signals);
  CudaSubmission submission;
  submission.commands = mine;
  submission.waits.assign(waits.begin(), waits.end());
  submission.signals.assign(signals.begin(), signals.end());
  mine->mark_committed();
  try {
    mine->prepare(planner_);
    submit(std::move(submission));
  } catch (...) {
    mine->take_back();
    throw;
  }
}

void CudaQueue::submit(CudaSubmission submission) {
  const std::lock_guard lock(context_->mutex);
  if (!context_->lost.empty()) {
    throw_error<DeviceError>("cuda_queue.commit", "the device is lost, restart this process: {}",
                             context_->lost);
  }
  for (const TimelinePoint& point : submission.signals) {
    if (point.timeline) static_cast<CudaTimeline&>(*point.timeline).count_pending(1);
  }
  lane_->add(std::move(submission));
  context_->poll();
}

bool CudaQueue::wait_idle(std::chrono::nanoseconds timeout) {
  return context_->wait_until([this] { return lane_->is_idle(); }, timeout);
}

}  // namespace krserve
