// CommandRing: the slots through which steps reach the compute queue, 2 to 8 of them in flight,
// each with its own recordings that are replayed.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "config/runtime_config.h"
#include "device/device.h"
#include "runtime/command_ring/gap_tracker.h"
#include "runtime/statistics.h"
#include "runtime/trace/trace.h"

namespace krserve::runtime {

inline constexpr uint32_t kMinRingSize = 2;
inline constexpr uint32_t kMaxRingSize = 8;

// An acquired slot: the right to one commit() or abandon(). A rebuild() makes it void.
struct RingSlot {
  uint32_t index = 0;
  uint64_t turn = 0;  // number of the acquisition, from 1
};

// Thread-safe.
class CommandRing {
 public:
  // Throws ConfigError for a ring_size outside kMinRingSize..kMaxRingSize.
  CommandRing(std::shared_ptr<Device> device, std::shared_ptr<Queue> compute,
              const CommandBufferRingConfig& config);

  uint32_t size() const { return static_cast<uint32_t>(slots_.size()); }
  // Whether acquire() would return at once.
  bool next_is_free() const;
  uint32_t in_flight() const;

  // The next slot, once its last step is over and nobody holds it. Slots come round in order.
  // Throws TimeoutError after timeout_ms (the slot stays next), DeviceError if a step failed: then
  // rebuild().
  RingSlot acquire();
  // The slot's recording of `key`, or null if it has none (any more).
  std::shared_ptr<CommandBuffer> recording(const RingSlot& slot, uint64_t key);
  // An empty recording of `key`, to be encoded by the caller and kept by the slot. With
  // max_recordings there already, the one used longest ago goes.
  std::shared_ptr<CommandBuffer> begin_recording(const RingSlot& slot, uint64_t key,
                                                 std::string_view label);
  // Commands for this step only.
  std::shared_ptr<CommandBuffer> begin_once(std::string_view label);
  // Commits the acquired slot's step. `replayed`: the commands came from recording().
  // `after_idle`: there was no work before, so the time since the last step is not the ring's.
  // Throws DeviceError if refused, or the slot is void; the slot is to be abandoned then.
  TimelinePoint commit(const RingSlot& slot, const std::shared_ptr<CommandBuffer>& commands,
                       std::span<const TimelinePoint> waits, bool replayed, bool after_idle);
  // Gives an acquired slot back without a step, and drops its recordings that never ran: they may
  // be half encoded.
  void abandon(const RingSlot& slot);

  // For a caller that wants the next slot and waits for its step by other means than acquire(),
  // so as to do something else in between: begin_wait() logs and counts, end_wait() takes the time.
  uint64_t begin_wait();
  void end_wait(uint64_t began_ns);
  // Counts a step that its waiter gave up on after timeout_ms.
  void note_timeout();
  std::chrono::nanoseconds timeout() const;

  // Timestamps of steps that have ended since the last call, in order.
  std::vector<Timestamps> take_completed();

  // Drops all recordings and steps in flight and starts afresh on `compute`, after a device error.
  // Waiters for steps of before that had not ended get a DeviceError.
  void rebuild(std::shared_ptr<Queue> compute);
  // Drops all recordings (buffers they bind are about to go). Nothing may be acquired or in flight.
  void drop_recordings();

  // Steps and slots are recorded from now on. Before the first step.
  void set_trace(std::shared_ptr<TraceRecorder> trace) { trace_ = std::move(trace); }
  RingStatistics statistics() const;
  void reset_statistics();
  // "slot 0: step 17 in flight for 31000 ms; slot 1: free; ...", for /health.
  std::string describe() const;

 private:
  using Lock = std::unique_lock<std::mutex>;
  struct Recording {
    uint64_t key;
    std::shared_ptr<CommandBuffer> commands;
  };
  struct Slot {
    TimelinePoint last;                        // the fence: end of its last step
    std::shared_ptr<CommandBuffer> committed;  // that step
    uint64_t committed_ns = 0;
    uint64_t step = 0;
    uint64_t holder = 0;                  // turn of who acquired it; 0 = nobody
    std::vector<Recording> recordings;    // the one used last first
    std::unordered_set<uint64_t> before;  // keys ever recorded here, over rebuilds
  };
  struct Step {
    TimelinePoint end;
    std::shared_ptr<CommandBuffer> commands;
    StepFacts facts;
    TimelinePoint last_wait;  // not over at commit
    uint64_t number;
    uint32_t slot;
    TraceInterval interval;  // ends when the host takes note of the step's end
  };

  // With mutex_ held.
  Slot& held(const RingSlot& slot);
  uint32_t count_in_flight() const;
  void note_ended();
  void count_wait(const Slot& slot, uint64_t began_ns);
  void count_acquisition(uint32_t occupied);
  void log_wait(const Slot& slot) const;

  void wait_for_holder(Lock& lock);
  void wait_for_fence(const RingSlot& mine, const TimelinePoint& fence);
  [[noreturn]] void throw_timeout(uint32_t slot, const char* state);
  Step begin_step(const RingSlot& slot, const std::shared_ptr<CommandBuffer>& commands,
                  std::span<const TimelinePoint> waits, bool after_idle,
                  std::shared_ptr<Queue>& to);

  std::shared_ptr<Device> device_;
  const CommandBufferRingConfig config_;
  std::shared_ptr<TraceRecorder> trace_;

  std::mutex commit_mutex_;   // commits and their timeline values are in one order
  mutable std::mutex mutex_;  // everything below; never held during a wait or a commit
  std::condition_variable given_back_;
  std::shared_ptr<Queue> compute_;
  std::shared_ptr<Timeline> timeline_;
  uint64_t last_value_ = 0;
  uint64_t turns_ = 0;
  uint64_t step_number_ = 0;
  uint32_t next_slot_ = 0;
  std::vector<Slot> slots_;

  std::deque<Step> steps_;
  std::vector<Timestamps> completed_;
  GapTracker gaps_;
  RingStatistics counts_;
  uint64_t replays_ = 0;
  uint64_t wait_ns_ = 0;
  uint64_t blocked_ns_ = 0;
};

}  // namespace krserve::runtime
