#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "device/fake/fake_state.h"
#include "kernels/ops/matmul.h"

namespace krserve {
namespace {

const char* kind_name(QueueKind kind) {
  switch (kind) {
    case QueueKind::kCompute:
      return "compute";
    case QueueKind::kCopyToDevice:
      return "copy_to_device";
    case QueueKind::kCopyToHost:
      return "copy_to_host";
  }
  return "?";
}

FakeTimeline& fake(const TimelinePoint& point) {
  return static_cast<FakeTimeline&>(*point.timeline);
}

// A wait that cannot end moves the simulated clock on and returns at once (after a breath, so that
// a polling thread lets the test's thread work).
std::chrono::nanoseconds real_wait(std::chrono::nanoseconds timeout) {
  return std::min<std::chrono::nanoseconds>(timeout, std::chrono::milliseconds(1));
}

uint64_t simulated_ns(std::chrono::nanoseconds timeout) {
  return static_cast<uint64_t>(std::max<int64_t>(0, timeout.count()));
}

bool may_have_prompts(const CpuCommand& command) {
  if (command.op != ops::Op::kMatmul) return false;
  ops::MatmulArgs args;
  std::memcpy(&args, command.args, sizeof(args));
  return (args.flags & ops::kMatmulPrompts) != 0;
}

}  // namespace

bool FakeState::strikes(FakeFault fault, QueueKind kind) {
  bool hit = false;
  std::erase_if(injections, [&](FakeInjection& injection) {
    const bool counts =
        injection.fault == fault && (fault == FakeFault::kAllocation || injection.kind == kind);
    if (!counts || --injection.remaining > 0) return false;
    return hit = true;
  });
  return hit;
}

bool FakeState::ready(const FakeSubmission& submission, uint64_t& ready_at) const {
  ready_at = 0;
  for (const TimelinePoint& point : submission.waits) {
    uint64_t time = 0;
    if (!point.timeline) continue;
    if (!fake(point).reached_at(point.value, time) && !fake(point).poisoned()) return false;
    ready_at = std::max(ready_at, time);
  }
  return !submission.hung;
}

std::shared_ptr<FakeLane> FakeState::next_lane(uint64_t& ready_at) {
  std::shared_ptr<FakeLane> best;
  std::erase_if(lanes, [](const std::weak_ptr<FakeLane>& lane) { return lane.expired(); });
  for (const std::weak_ptr<FakeLane>& weak : lanes) {
    const std::shared_ptr<FakeLane> lane = weak.lock();
    uint64_t time = 0;
    if (!lane || lane->submissions.empty() || !ready(lane->submissions.front(), time)) continue;
    if (best && best->submissions.front().order < lane->submissions.front().order) continue;
    best = lane;
    ready_at = time;
  }
  return best;
}

bool FakeState::run_one() {
  uint64_t ready_at = 0;
  const std::shared_ptr<FakeLane> lane = next_lane(ready_at);
  if (!lane) return false;
  FakeSubmission submission = std::move(lane->submissions.front());
  lane->submissions.pop_front();
  execute(*lane, submission, ready_at);
  changed.notify_all();
  return true;
}

void FakeState::pump() {
  while (!options.manual && run_one()) {
  }
}

void FakeState::fail(FakeLane& lane, FakeSubmission& submission, const std::string& why) {
  record(std::string("fail ") + kind_name(lane.kind) + " " + submission.commands->label());
  submission.commands->mark_ended(false, {});
  for (const TimelinePoint& point : submission.signals) {
    if (point.timeline) fake(point).poison_locked(why);
  }
}

void FakeState::execute(FakeLane& lane, FakeSubmission& submission, uint64_t ready_at) {
  CpuCommandBuffer& commands = *submission.commands;
  if (submission.fails) return fail(lane, submission, "injected fault in " + commands.describe());
  for (const TimelinePoint& point : submission.waits) {
    uint64_t time = 0;
    if (point.timeline && !fake(point).reached_at(point.value, time)) {
      return fail(lane, submission, fake(point).message_locked());
    }
  }
  Timestamps times;
  times.start_ns = std::max({clock, lane.free_at_ns, ready_at});
  const auto duration = durations.find(commands.label());
  times.end_ns =
      times.start_ns + (duration == durations.end() ? options.command_buffer_ns : duration->second);
  for (const CpuCommand& command : commands.commands()) {
    if (command.kind == CpuCommand::Kind::kDispatch) {
      record(std::string("dispatch ") + ops::op_name(command.op) +
             (may_have_prompts(command) ? " prompts" : ""));
    }
  }
  try {
    run_inline(commands, kernels::cpu_kernel_table(kernels::SimdLevel::kPortable), scratch);
  } catch (const std::exception& error) {
    return fail(lane, submission, commands.describe() + ": " + error.what());
  }
  lane.free_at_ns = times.end_ns;
  commands.mark_ended(true, times);
  if (submission.silent) return;
  for (const TimelinePoint& point : submission.signals) {
    if (point.timeline) fake(point).signal_at(point.value, times.end_ns);
  }
}

FakeQueue::~FakeQueue() {
  const std::lock_guard lock(state_->mutex);
  std::deque<FakeSubmission> unfinished;
  unfinished.swap(lane_->submissions);
  for (FakeSubmission& submission : unfinished) {
    state_->fail(*lane_, submission, "the queue was destroyed before it ran");
  }
  if (!unfinished.empty()) state_->pump();
}

std::shared_ptr<CommandBuffer> FakeQueue::begin(CommandBufferUse use, std::string_view label) {
  const std::lock_guard lock(state_->mutex);
  state_->record(std::string("begin ") + kind_name(lane_->kind) + " " + std::string(label));
  return std::make_shared<CpuCommandBuffer>(use, label);
}

void FakeQueue::commit(const std::shared_ptr<CommandBuffer>& commands,
                       std::span<const TimelinePoint> waits,
                       std::span<const TimelinePoint> signals) {
  auto list = std::dynamic_pointer_cast<CpuCommandBuffer>(commands);
  if (!list) {
    throw DeviceError("fake_queue.commit", "the command buffer was not begun on this device");
  }
  const std::lock_guard lock(state_->mutex);
  if (state_->strikes(FakeFault::kCommit, lane_->kind)) {
    throw DeviceError("fake_queue.commit", "injected fault in " + list->describe());
  }
  list->lifecycle().mark_committed();
  state_->record(std::string("commit ") + kind_name(lane_->kind) + " " + list->label());
  FakeSubmission submission{
      list, {waits.begin(), waits.end()}, {signals.begin(), signals.end()}, ++state_->commits};
  submission.fails = state_->strikes(FakeFault::kExecution, lane_->kind);
  submission.hung = state_->strikes(FakeFault::kHang, lane_->kind);
  submission.silent = state_->strikes(FakeFault::kLostCompletion, lane_->kind);
  lane_->submissions.push_back(std::move(submission));
  state_->pump();
}

bool FakeQueue::wait_idle(std::chrono::nanoseconds timeout) {
  std::unique_lock lock(state_->mutex);
  const auto is_idle = [this] { return lane_->submissions.empty(); };
  if (timeout == kNoTimeout) {
    state_->changed.wait(lock, is_idle);
  } else if (!state_->changed.wait_for(lock, real_wait(timeout), is_idle)) {
    state_->clock += simulated_ns(timeout);
    return false;
  }
  state_->clock = std::max(state_->clock, lane_->free_at_ns);
  return true;
}

uint64_t FakeTimeline::value() const {
  const std::lock_guard lock(state_->mutex);
  return history_.empty() ? 0 : history_.back().first;
}

void FakeTimeline::signal(uint64_t value) {
  const std::lock_guard lock(state_->mutex);
  signal_at(value, state_->clock);
  state_->pump();
}

void FakeTimeline::signal_at(uint64_t value, uint64_t time_ns) {
  if (poisoned() || (!history_.empty() && value <= history_.back().first)) return;
  const uint64_t last = history_.empty() ? 0 : history_.back().second;
  history_.emplace_back(value, std::max(last, time_ns));
  state_->changed.notify_all();
}

bool FakeTimeline::reached_at(uint64_t value, uint64_t& time_ns) const {
  if (value == 0) return true;
  const auto it = std::lower_bound(history_.begin(), history_.end(), value,
                                   [](const auto& entry, uint64_t v) { return entry.first < v; });
  if (it == history_.end()) return false;
  time_ns = it->second;
  return true;
}

WaitResult FakeTimeline::wait(uint64_t value, std::chrono::nanoseconds timeout) {
  std::unique_lock lock(state_->mutex);
  uint64_t time = 0;
  const auto over = [&] { return reached_at(value, time) || poisoned(); };
  if (!over()) {
    if (timeout == kNoTimeout) {
      state_->changed.wait(lock, over);
    } else if (!state_->changed.wait_for(lock, real_wait(timeout), over)) {
      state_->clock += simulated_ns(timeout);
      return WaitResult::kTimeout;
    }
  }
  if (!reached_at(value, time)) throw DeviceError("timeline.wait", message_);
  state_->clock = std::max(state_->clock, time);
  return WaitResult::kReached;
}

void FakeTimeline::poison(const std::string& message) {
  const std::lock_guard lock(state_->mutex);
  poison_locked(message);
  state_->pump();
}

void FakeTimeline::poison_locked(const std::string& message) {
  if (message_.empty()) message_ = message.empty() ? "device error" : message;
  state_->changed.notify_all();
}

std::optional<uint64_t> FakeTimeline::reached_at_ns(uint64_t value) const {
  const std::lock_guard lock(state_->mutex);
  uint64_t time = 0;
  if (!reached_at(value, time)) return std::nullopt;
  return time;
}

std::optional<std::string> FakeTimeline::error() const {
  const std::lock_guard lock(state_->mutex);
  if (message_.empty()) return std::nullopt;
  return message_;
}

}  // namespace krserve
