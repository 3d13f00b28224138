#include "runtime/command_ring/command_ring.h"

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "base/units.h"

namespace krserve::runtime {

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
  return slots_[next_slot_].last.reached();
}

uint32_t CommandRing::in_flight() const {
  return static_cast<uint32_t>(std::count_if(
      slots_.begin(), slots_.end(), [](const Slot& slot) { return !slot.last.reached(); }));
}

uint32_t CommandRing::acquire() {
  const uint32_t occupied = in_flight();
  const TimelinePoint fence = slots_[next_slot_].last;
  if (!fence.reached()) wait_for_slot(fence);
  {
    const std::lock_guard lock(mutex_);
    ++counts_.total_acquisitions;
    ++counts_.occupancy[std::min<size_t>(occupied, counts_.occupancy.size() - 1)];
  }
  const uint32_t slot = next_slot_;
  next_slot_ = (next_slot_ + 1) % size();
  return slot;
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

void CommandRing::wait_for_slot(const TimelinePoint& fence) {
  if (config_.log_wait_events) log().info("Waiting for command buffer completion...");
  const uint64_t start = now_ns();
  const WaitResult result = fence.wait(timeout());
  const uint64_t waited = now_ns() - start;
  const std::lock_guard lock(mutex_);
  ++counts_.wait_events;
  wait_ns_ += waited;
  counts_.max_wait_ms = std::max(counts_.max_wait_ms, static_cast<double>(waited) / 1e6);
  if (result == WaitResult::kTimeout) {
    ++counts_.timeouts;
    throw_error<TimeoutError>(
        "command_ring.acquire",
        "slot {} of {} was still in flight after {} ms; raise timeout_ms or look "
        "for a hung kernel",
        next_slot_, size(), config_.timeout_ms);
  }
}

std::shared_ptr<CommandBuffer> CommandRing::recording(uint32_t slot, uint64_t key) const {
  const auto it = slots_[slot].recordings.find(key);
  return it == slots_[slot].recordings.end() ? nullptr : it->second;
}

std::shared_ptr<CommandBuffer> CommandRing::begin_recording(uint32_t slot, uint64_t key,
                                                            std::string_view label) {
  auto commands = compute_->begin(CommandBufferUse::kRecorded, label);
  slots_[slot].recordings[key] = commands;
  const std::lock_guard lock(mutex_);
  ++counts_.recordings;
  return commands;
}

std::shared_ptr<CommandBuffer> CommandRing::begin_once(std::string_view label) {
  return compute_->begin(CommandBufferUse::kOnce, label);
}

TimelinePoint CommandRing::commit(uint32_t slot, const std::shared_ptr<CommandBuffer>& commands,
                                  std::span<const TimelinePoint> waits, bool replayed,
                                  bool after_idle) {
  note_ended();  // before a replay overwrites the timestamps of its last execution
  const TimelinePoint end{timeline_, last_value_ + 1};
  compute_->commit(commands, waits, {&end, 1});
  last_value_ = end.value;
  slots_[slot].last = end;
  const std::lock_guard lock(mutex_);
  replays_ += replayed ? 1 : 0;
  steps_.push_back({end, commands, after_idle});
  return end;
}

void CommandRing::abandon(uint32_t slot) {
  std::erase_if(slots_[slot].recordings, [](const auto& entry) {
    return entry.second->state() == CommandBufferState::kEncoding;
  });
  if ((slot + 1) % size() == next_slot_) next_slot_ = slot;
}

void CommandRing::note_ended() {
  const std::lock_guard lock(mutex_);
  while (!steps_.empty() && steps_.front().end.reached()) {
    const Timestamps times = steps_.front().commands->timestamps();
    if (previous_end_ns_ != 0 && !steps_.front().after_idle) {
      gaps_.observe(times.start_ns > previous_end_ns_ ? times.start_ns - previous_end_ns_ : 0);
    }
    previous_end_ns_ = times.end_ns;
    completed_.push_back(times);
    steps_.pop_front();
  }
}

std::vector<Timestamps> CommandRing::take_completed() {
  note_ended();
  const std::lock_guard lock(mutex_);
  return std::exchange(completed_, {});
}

void CommandRing::rebuild(std::shared_ptr<Queue> compute) {
  note_ended();
  compute_ = std::move(compute);
  for (Slot& slot : slots_) slot = Slot{};
  next_slot_ = 0;
  last_value_ = 0;
  timeline_ = device_->new_timeline();
  const std::lock_guard lock(mutex_);
  steps_.clear();
  previous_end_ns_ = 0;
  ++counts_.rebuilds;
}

void CommandRing::drop_recordings() {
  for (Slot& slot : slots_) slot.recordings.clear();
}

RingStatistics CommandRing::statistics() const {
  const std::lock_guard lock(mutex_);
  RingStatistics out = counts_;
  out.enabled = true;
  out.ring_size = static_cast<uint32_t>(slots_.size());
  const auto total = static_cast<double>(out.total_acquisitions);
  out.reuse_rate = out.total_acquisitions ? static_cast<double>(replays_) / total : 0;
  out.avg_wait_ms = out.total_acquisitions ? static_cast<double>(wait_ns_) / 1e6 / total : 0;
  out.gap_p50_us = static_cast<double>(gaps_.quantile(0.5)) / 1e3;
  out.gap_p99_us = static_cast<double>(gaps_.quantile(0.99)) / 1e3;
  out.gap_count = gaps_.count();
  return out;
}

void CommandRing::reset_statistics() {
  const std::lock_guard lock(mutex_);
  counts_ = {};
  replays_ = 0;
  wait_ns_ = 0;
  gaps_ = {};
  previous_end_ns_ = 0;
}

}  // namespace krserve::runtime
