// CommandRing: the slots through which steps reach the compute queue, 2 to 8 of them in flight,
// each with its own recordings that are replayed.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/log_histogram.h"
#include "config/runtime_config.h"
#include "device/device.h"
#include "runtime/statistics.h"

namespace krserve::runtime {

inline constexpr uint32_t kMinRingSize = 2;
inline constexpr uint32_t kMaxRingSize = 8;

class CommandRing {
 public:
  // Throws ConfigError for a ring_size outside kMinRingSize..kMaxRingSize.
  CommandRing(std::shared_ptr<Device> device, std::shared_ptr<Queue> compute,
              const CommandBufferRingConfig& config);

  uint32_t size() const { return static_cast<uint32_t>(slots_.size()); }
  // Whether acquire() would return at once.
  bool next_is_free() const;
  uint32_t in_flight() const;

  // The next slot, once its last step is over. Slots come round in order. Throws TimeoutError after
  // timeout_ms (the slot stays next), DeviceError if a step failed: then rebuild().
  uint32_t acquire();
  // The slot's recording of `key`, or null if it has none.
  std::shared_ptr<CommandBuffer> recording(uint32_t slot, uint64_t key) const;
  // An empty recording of `key`, to be encoded by the caller and kept by the slot.
  std::shared_ptr<CommandBuffer> begin_recording(uint32_t slot, uint64_t key,
                                                 std::string_view label);
  // Commands for this step only.
  std::shared_ptr<CommandBuffer> begin_once(std::string_view label);
  // Commits the acquired slot's step. `replayed`: the commands came from recording().
  // `after_idle`: there was no work before, so the time since the last step is no gap.
  TimelinePoint commit(uint32_t slot, const std::shared_ptr<CommandBuffer>& commands,
                       std::span<const TimelinePoint> waits, bool replayed, bool after_idle);
  // Gives an acquired slot back without a step, and drops its recordings that never ran: they may
  // be half encoded.
  void abandon(uint32_t slot);

  // Counts a step that its waiter gave up on after timeout_ms.
  void note_timeout();
  std::chrono::nanoseconds timeout() const;

  // Timestamps of steps that have ended since the last call, in order.
  std::vector<Timestamps> take_completed();

  // Drops all recordings and steps in flight and starts afresh on `compute`, after a device error.
  void rebuild(std::shared_ptr<Queue> compute);
  // Drops all recordings (buffers they bind are about to go). Nothing may be in flight.
  void drop_recordings();

  RingStatistics statistics() const;
  void reset_statistics();

 private:
  struct Slot {
    TimelinePoint last;  // the fence: end of its last step
    std::unordered_map<uint64_t, std::shared_ptr<CommandBuffer>> recordings;
  };
  struct Step {
    TimelinePoint end;
    std::shared_ptr<CommandBuffer> commands;
    bool after_idle;
  };

  void wait_for_slot(const TimelinePoint& fence);
  void note_ended();

  std::shared_ptr<Device> device_;
  const CommandBufferRingConfig config_;
  std::shared_ptr<Queue> compute_;
  std::shared_ptr<Timeline> timeline_;
  uint64_t last_value_ = 0;
  uint32_t next_slot_ = 0;
  std::vector<Slot> slots_;

  mutable std::mutex mutex_;  // counters and steps_
  std::deque<Step> steps_;
  std::vector<Timestamps> completed_;
  uint64_t previous_end_ns_ = 0;
  RingStatistics counts_;
  uint64_t replays_ = 0;
  uint64_t wait_ns_ = 0;
  LogHistogram gaps_;
};

}  // namespace krserve::runtime
