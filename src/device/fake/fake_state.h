// What the fake device, its queues and its timelines share; one lock for all of it.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "device/cpu/command_list.h"
#include "device/cpu/cpu_memory.h"
#include "device/fake/fake_device.h"

namespace krserve {

struct FakeSubmission {
  std::shared_ptr<CpuCommandBuffer> commands;
  std::vector<TimelinePoint> waits;
  std::vector<TimelinePoint> signals;
  uint64_t order = 0;  // of the commit, over all queues
  bool hung = false;
  bool fails = false;
  bool silent = false;
};

struct FakeLane {
  QueueKind kind;
  uint64_t free_at_ns = 0;
  std::deque<FakeSubmission> submissions;
};

struct FakeInjection {
  FakeFault fault;
  uint64_t remaining;
  QueueKind kind;
};

struct FakeState {
  explicit FakeState(const FakeOptions& fake_options) : options(fake_options) {}

  // All with `mutex` held.
  void record(std::string call) { calls.push_back(std::move(call)); }
  // Counts one event and tells whether `fault` strikes it.
  bool strikes(FakeFault fault, QueueKind kind);
  // Runs one command buffer whose turn it is; false if there is none.
  bool run_one();
  void pump();
  void fail(FakeLane& lane, FakeSubmission& submission, const std::string& why);

  mutable std::mutex mutex;
  std::condition_variable changed;
  FakeOptions options;
  uint64_t clock = 1000;
  uint64_t commits = 0;
  std::vector<std::string> calls;
  std::vector<FakeInjection> injections;
  std::vector<std::weak_ptr<FakeLane>> lanes;
  std::map<std::string, uint64_t> durations;
  std::shared_ptr<MemoryCounter> memory = std::make_shared<MemoryCounter>();
  kernels::Scratch scratch;

 private:
  bool ready(const FakeSubmission& submission, uint64_t& ready_at) const;
  // The lane whose next command buffer was committed first among those that can run; or null.
  std::shared_ptr<FakeLane> next_lane(uint64_t& ready_at);
  void execute(FakeLane& lane, FakeSubmission& submission, uint64_t ready_at);
};

class FakeTimeline final : public Timeline {
 public:
  explicit FakeTimeline(std::shared_ptr<FakeState> state) : state_(std::move(state)) {}

  uint64_t value() const override;
  void signal(uint64_t value) override;
  WaitResult wait(uint64_t value, std::chrono::nanoseconds timeout) override;
  void poison(const std::string& message) override;
  std::optional<std::string> error() const override;
  std::optional<uint64_t> reached_at_ns(uint64_t value) const override;

  // With the state's mutex held.
  void signal_at(uint64_t value, uint64_t time_ns);
  void poison_locked(const std::string& message);
  const std::string& message_locked() const { return message_; }
  // When the value was reached; false if it was not.
  bool reached_at(uint64_t value, uint64_t& time_ns) const;
  bool poisoned() const { return !message_.empty(); }

 private:
  std::shared_ptr<FakeState> state_;
  std::vector<std::pair<uint64_t, uint64_t>> history_;  // value, time; both grow
  std::string message_;
};

class FakeQueue final : public Queue {
 public:
  FakeQueue(std::shared_ptr<FakeState> state, std::shared_ptr<FakeLane> lane)
      : state_(std::move(state)), lane_(std::move(lane)) {}
  // What has not run by then fails.
  ~FakeQueue() override;

  QueueKind kind() const override { return lane_->kind; }
  std::shared_ptr<CommandBuffer> begin(CommandBufferUse use, std::string_view label) override;
  void commit(const std::shared_ptr<CommandBuffer>& commands, std::span<const TimelinePoint> waits,
              std::span<const TimelinePoint> signals) override;
  bool wait_idle(std::chrono::nanoseconds timeout) override;

 private:
  std::shared_ptr<FakeState> state_;
  std::shared_ptr<FakeLane> lane_;
};

}  // namespace krserve
