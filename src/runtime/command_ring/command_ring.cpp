#include "runtime/command_ring/command_ring.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "base/log.h"

namespace krserve::runtime {
namespace {

// Keys remembered per slot to tell a second recording from a first one.
constexpr size_t kMostKeysRemembered = 4096;

double to_ms(uint64_t ns) {
  return static_cast<double>(ns) / 1e6;
}

}  // namespace

CommandRing::CommandRing(std::shared_ptr<Device> device, std::shared_ptr<Queue> compute,
                         const CommandBufferRingConfig& config)
    : device_(std::move(device)), config_(config), compute_(std::move(compute)) {
  if (config.ring_size < kMinRingSize || config.ring_size > kMaxRingSize) {
    throw_error<ConfigError>("command_ring.create",
                             "CommandBufferRing: Invalid ring_size (must be >= {}): {}; use {}..{}",
                             kMinRingSize, config.ring_size, kMinRingSize, kMaxRingSize);
  }
  slots_.resize(static_cast<size_t>(config.ring_size));
  timeline_ = device_->new_timeline();
}

bool CommandRing::next_is_free() const {
  const std::lock_guard lock(mutex_);
  return slots_[next_slot_].holder == 0 && slots_[next_slot_].last.reached();
}

uint32_t CommandRing::in_flight() const {
  const std::lock_guard lock(mutex_);
  return count_in_flight();
}

uint32_t CommandRing::count_in_flight() const {
  return static_cast<uint32_t>(std::count_if(
      slots_.begin(), slots_.end(), [](const Slot& slot) { return !slot.last.reached(); }));
}

RingSlot CommandRing::acquire() {
  Lock lock(mutex_);
  if (slots_[next_slot_].holder != 0) wait_for_holder(lock);
  const RingSlot mine{next_slot_, ++turns_};
  Slot& slot = slots_[mine.index];
  slot.holder = mine.turn;
  next_slot_ = (next_slot_ + 1) % size();
  const uint32_t occupied = config_.track_statistics ? count_in_flight() : 0;
  if (!slot.last.reached()) {
    const TimelinePoint fence = slot.last;
    const uint64_t began = device_->clock_ns();
    log_wait(slot);
    lock.unlock();
    wait_for_fence(mine, fence);
    lock.lock();
    count_wait(held(mine), began);
  }
  count_acquisition(occupied);
  return mine;
}

// More callers than slots: until one of them has committed.
void CommandRing::wait_for_holder(Lock& lock) {
  const auto over = [this] { return slots_[next_slot_].holder == 0; };
  if (timeout() == kNoTimeout) return given_back_.wait(lock, over);
  if (given_back_.wait_for(lock, timeout(), over)) return;
  ++counts_.timeouts;
  throw_timeout(next_slot_, "acquired by another caller and not committed");
}

void CommandRing::wait_for_fence(const RingSlot& mine, const TimelinePoint& fence) {
  const uint64_t began = device_->clock_ns();
  try {
    if (fence.wait(timeout()) == WaitResult::kReached) return;
  } catch (...) {
    abandon(mine);
    throw;
  }
  {
    const std::lock_guard lock(mutex_);
    ++counts_.timeouts;
    count_wait(slots_[mine.index], began);
  }
  abandon(mine);
  throw_timeout(mine.index, "in flight");
}

void CommandRing::throw_timeout(uint32_t slot, const char* state) {
  throw_error<TimeoutError>(
      "command_ring.acquire",
      "slot {} of {} was still {} after {} ms; raise timeout_ms or look for a hung kernel", slot,
      size(), state, config_.timeout_ms);
}

std::chrono::nanoseconds CommandRing::timeout() const {
  return config_.timeout_ms > 0
             ? std::chrono::nanoseconds(std::chrono::milliseconds(config_.timeout_ms))
             : kNoTimeout;
}

void CommandRing::note_timeout() {
  const std::lock_guard lock(mutex_);
  ++counts_.timeouts;
}

void CommandRing::log_wait(const Slot& slot) const {
  if (!config_.log_wait_events) return;
  log().info(
      "[command_ring.acquire] Waiting for command buffer completion... slot {} of {}, "
      "step {}, {} in flight",
      &slot - slots_.data(), size(), slot.step, count_in_flight());
}

uint64_t CommandRing::begin_wait() {
  const std::lock_guard lock(mutex_);
  log_wait(slots_[next_slot_]);
  return device_->clock_ns();
}

void CommandRing::end_wait(uint64_t began_ns) {
  const std::lock_guard lock(mutex_);
  count_wait(slots_[next_slot_], began_ns);
}

// What the device needed for the slot's step is work; waiting is what comes after it. A step that
// did not end is no work.
void CommandRing::count_wait(const Slot& slot, uint64_t began_ns) {
  if (!config_.track_statistics) return;
  const uint64_t now = std::max(device_->clock_ns(), began_ns);
  uint64_t from = began_ns;
  if (slot.committed && slot.committed->state() == CommandBufferState::kCompleted) {
    from = std::clamp(slot.committed->timestamps().end_ns, began_ns, now);
  }
  ++counts_.wait_events;
  wait_ns_ += now - from;
  blocked_ns_ += now - began_ns;
  counts_.max_wait_ms = std::max(counts_.max_wait_ms, to_ms(now - from));
  counts_.max_blocked_ms = std::max(counts_.max_blocked_ms, to_ms(now - began_ns));
}

void CommandRing::count_acquisition(uint32_t occupied) {
  if (!config_.track_statistics) return;
  ++counts_.total_acquisitions;
  ++counts_.occupancy[std::min<size_t>(occupied, counts_.occupancy.size() - 1)];
}

CommandRing::Slot& CommandRing::held(const RingSlot& slot) {
  Slot& out = slots_[slot.index];
  if (out.holder == slot.turn) return out;
  throw_error<DeviceError>("command_ring.commit",
                           "slot {} was lost when the ring was rebuilt; acquire one again",
                           slot.index);
}

std::shared_ptr<CommandBuffer> CommandRing::recording(const RingSlot& slot, uint64_t key) {
  const std::lock_guard lock(mutex_);
  auto& all = held(slot).recordings;
  const auto it = std::find_if(all.begin(), all.end(),
                               [key](const Recording& recording) { return recording.key == key; });
  if (it == all.end()) return nullptr;
  std::rotate(all.begin(), it, it + 1);
  return all.front().commands;
}

std::shared_ptr<CommandBuffer> CommandRing::begin_recording(const RingSlot& slot, uint64_t key,
                                                            std::string_view label) {
  const std::lock_guard lock(mutex_);
  Slot& mine = held(slot);
  auto commands = compute_->begin(CommandBufferUse::kRecorded, label);
  std::erase_if(mine.recordings,
                [key](const Recording& recording) { return recording.key == key; });
  const bool full = mine.recordings.size() >= static_cast<size_t>(config_.max_recordings);
  if (full) mine.recordings.pop_back();
  mine.recordings.insert(mine.recordings.begin(), {key, commands});
  if (mine.before.size() >= kMostKeysRemembered) mine.before.clear();
  const bool again = !mine.before.insert(key).second;
  if (config_.track_statistics) {
    ++counts_.recordings;
    counts_.re_records += again ? 1 : 0;
    counts_.evictions += full ? 1 : 0;
  }
  return commands;
}

std::shared_ptr<CommandBuffer> CommandRing::begin_once(std::string_view label) {
  std::shared_ptr<Queue> compute;
  {
    const std::lock_guard lock(mutex_);
    compute = compute_;
  }
  return compute->begin(CommandBufferUse::kOnce, label);
}

CommandRing::Step CommandRing::begin_step(const RingSlot& slot,
                                          const std::shared_ptr<CommandBuffer>& commands,
                                          std::span<const TimelinePoint> waits, bool after_idle,
                                          std::shared_ptr<Queue>& to) {
  const std::lock_guard lock(mutex_);
  held(slot);
  note_ended();  // before a replay overwrites the timestamps of its last execution
  to = compute_;
  Step step{{timeline_, last_value_ + 1}, commands, {}, {}, ++step_number_, slot.index, {}};
  step.facts.after_idle = after_idle;
  for (const TimelinePoint& point : waits) {
    if (!point.reached()) step.last_wait = point;
  }
  step.facts.waited = step.last_wait.timeline != nullptr;
  step.interval = TraceInterval(trace_, Signpost::kStep, "in flight");
  step.facts.committed_ns = device_->clock_ns();
  return step;
}

TimelinePoint CommandRing::commit(const RingSlot& slot,
                                  const std::shared_ptr<CommandBuffer>& commands,
                                  std::span<const TimelinePoint> waits, bool replayed,
                                  bool after_idle) {
  const std::lock_guard order(commit_mutex_);
  std::shared_ptr<Queue> compute;
  Step step = begin_step(slot, commands, waits, after_idle, compute);
  const TimelinePoint end = step.end;
  compute->commit(commands, waits, {&end, 1});
  const std::lock_guard lock(mutex_);
  last_value_ = end.value;
  Slot& mine = slots_[slot.index];
  mine.last = end;
  mine.committed = commands;
  mine.committed_ns = step.facts.committed_ns;
  mine.step = step.number;
  mine.holder = 0;
  if (config_.track_statistics) replays_ += replayed ? 1 : 0;
  steps_.push_back(std::move(step));
  given_back_.notify_all();
  return end;
}

void CommandRing::abandon(const RingSlot& slot) {
  const std::lock_guard lock(mutex_);
  Slot& mine = slots_[slot.index];
  if (mine.holder != slot.turn) return;
  std::erase_if(mine.recordings, [](const Recording& recording) {
    return recording.commands->state() == CommandBufferState::kEncoding;
  });
  mine.holder = 0;
  if ((slot.index + 1) % size() == next_slot_) next_slot_ = slot.index;
  given_back_.notify_all();
}

void CommandRing::note_ended() {
  while (!steps_.empty() && steps_.front().end.reached()) {
    Step& step = steps_.front();
    const Timestamps times = step.commands->timestamps();
    if (step.facts.waited) {
      step.facts.waits_over_ns = step.last_wait.timeline->reached_at_ns(step.last_wait.value);
    }
    const auto gap = gaps_.add(times, step.facts, config_.track_statistics);
    if (trace_) {
      const char* cause = gap && gap->ns > 0 ? to_string(gap->cause) : nullptr;
      trace_->add(TraceTrack::kCompute, "step", times, step.number, cause);
      trace_->add(TraceTrack::kSlot, "in flight", {step.facts.committed_ns, times.end_ns},
                  step.number, nullptr, step.slot);
    }
    completed_.push_back(times);
    steps_.pop_front();
  }
}

std::vector<Timestamps> CommandRing::take_completed() {
  const std::lock_guard lock(mutex_);
  note_ended();
  return std::exchange(completed_, {});
}

void CommandRing::rebuild(std::shared_ptr<Queue> compute) {
  const std::lock_guard order(commit_mutex_);
  std::shared_ptr<Timeline> old;
  {
    const std::lock_guard lock(mutex_);
    note_ended();
    compute_ = std::move(compute);
    for (Slot& slot : slots_) {
      slot.last = {};
      slot.committed = nullptr;
      slot.step = 0;
      slot.holder = 0;
      slot.recordings.clear();
    }
    next_slot_ = 0;
    last_value_ = 0;
    old = std::exchange(timeline_, device_->new_timeline());
    steps_.clear();
    gaps_.forget_previous();
    ++counts_.rebuilds;
    given_back_.notify_all();
  }
  // A step that hung would keep those who wait for it, copies included, for ever.
  old->poison("[command_ring.rebuild] the ring was rebuilt before the step ended");
}

void CommandRing::drop_recordings() {
  const std::lock_guard lock(mutex_);
  for (Slot& slot : slots_) slot.recordings.clear();
}

RingStatistics CommandRing::statistics() const {
  const std::lock_guard lock(mutex_);
  RingStatistics out = counts_;
  out.enabled = true;
  out.ring_size = static_cast<uint32_t>(slots_.size());
  out.replays = replays_;
  out.wait_ms = to_ms(wait_ns_);
  if (out.total_acquisitions > 0) {
    const auto total = static_cast<double>(out.total_acquisitions);
    out.reuse_rate = static_cast<double>(replays_) / total;
    out.avg_wait_ms = out.wait_ms / total;
    out.avg_blocked_ms = to_ms(blocked_ns_) / total;
  }
  gaps_.write(out);
  return out;
}

void CommandRing::reset_statistics() {
  const std::lock_guard lock(mutex_);
  counts_ = {};
  replays_ = wait_ns_ = blocked_ns_ = 0;
  gaps_.reset();
}

std::string CommandRing::describe() const {
  const uint64_t now = device_->clock_ns();
  const std::lock_guard lock(mutex_);
  std::string out;
  for (size_t i = 0; i < slots_.size(); ++i) {
    const Slot& slot = slots_[i];
    if (i > 0) out += "; ";
    if (slot.holder != 0) {
      out += fmt::format("slot {}: being encoded", i);
    } else if (!slot.last.reached()) {
      const uint64_t age = now > slot.committed_ns ? now - slot.committed_ns : 0;
      out += fmt::format("slot {}: step {} in flight for {} ms", i, slot.step, age / 1'000'000);
    } else {
      out += fmt::format("slot {}: free", i);
    }
  }
  return out;
}

}  // namespace krserve::runtime
