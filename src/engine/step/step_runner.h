// Takes a plan to the device and brings its tokens back; the one place where pool, blit queue and
// ring meet.
#pragma once

#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "engine/scheduler/scheduler.h"
#include "engine/step/components.h"
#include "engine/step/step_params.h"
#include "model/decoder/decoder.h"

namespace krserve::engine {

// A committed step. Move-only; keeps what it uses alive until its tokens have been read.
struct StepInFlight {
  StepPlan plan;
  TimelinePoint end;
  runtime::BlitId download = 0;
  // Where the download lands; on the heap, so that moving the step does not move it.
  std::unique_ptr<std::vector<int32_t>> sampled;
  runtime::RingSlot ring_slot;
  std::vector<runtime::Allocation> owned;  // without the pool: this step's buffers
};

struct StepRunnerOptions {
  uint32_t slots = 8;
  uint32_t max_rows = 0;   // rows of the largest step
  uint64_t max_pages = 0;  // page-list entries of the largest step
  // Of the lists of pages and biases, what a recording copies from its mailbox whether it is used
  // or not, in page-list entries: less than 2 us, and enough for all but many long sequences. What
  // is beyond is an upload of its own.
  uint64_t mailbox_pages = 8192;
};

class StepRunner {
 public:
  StepRunner(Components& components, const Decoder& decoder,
             const std::vector<BufferView>& kv_segments, const StepRunnerOptions& options);
  ~StepRunner();

  // Steps that may be in flight: ring_size, or 1 without the ring.
  uint32_t depth() const;
  // Whether submit() would not wait.
  bool ready() const;
  // Commits the plan. `after_idle`: the device had no work before. Without the ring, waits for its
  // end. Throws DeviceError, TimeoutError, OutOfMemoryError; then nothing of it is in flight.
  StepInFlight submit(StepPlan plan, bool after_idle);
  // Waits for the step's tokens. Throws DeviceError if it failed.
  WaitResult wait(StepInFlight& step, std::chrono::nanoseconds timeout);
  // The same for the oldest step in flight; if that one keeps the ring full, it is the ring's wait.
  WaitResult wait_oldest(StepInFlight& step, std::chrono::nanoseconds timeout);
  // Tokens of the plan's samples, in order. After wait() returned kReached.
  const std::vector<int32_t>& tokens(const StepInFlight& step) const { return *step.sampled; }

  // After a device error: a new compute queue and ring state. If the old queue does not come to
  // rest (a hung step), all that its steps may still write is set aside, with `lost`, and new
  // memory is taken; returns false then. Throws OutOfMemoryError if there is none.
  bool recover(std::deque<StepInFlight> lost);
  // Frees what recover() set aside if the old queues have come to rest; true when nothing is left.
  bool reclaim();

  // Time that the calls above have spent waiting for the device.
  uint64_t waited_ns() const { return waited_ns_; }
  // Busy time of the compute queue since the last reset.
  uint64_t busy_ns() const { return busy_ns_; }
  void reset_busy();
  // Activations of the largest step; empty without the pool, whose steps have no plan.
  const runtime::StaticPlan& largest_plan() const { return largest_plan_; }
  // Steps that have ended since the last call: feeds busy time and overlap.
  void note_completed();

 private:
  struct Memory;  // a step's buffers and who owns them

  void make_slot_state();
  StepCapacity capacity_for(const StepPlan& plan) const;
  Memory make_memory(StepCapacity capacity, bool planned);
  void add_mailbox(Memory& memory);
  uint64_t mailbox_bytes(StepCapacity capacity) const;
  Memory& memory_of_slot(uint32_t slot);
  StepInFlight submit_with_ring(StepPlan plan, bool after_idle);
  StepInFlight submit_blocking(StepPlan plan);
  runtime::BlitId upload(const StepPlan& plan, StepCapacity capacity, const Memory& memory);
  void start_download(StepInFlight& step, const BufferView& sampled);
  std::shared_ptr<CommandBuffer> ring_commands(const runtime::RingSlot& slot, Memory& memory,
                                               StepCapacity capacity, bool& replayed);

  Components& c_;
  const Decoder& decoder_;
  const std::vector<BufferView> kv_segments_;
  const StepRunnerOptions options_;
  StepCapacity largest_;
  runtime::StaticPlan largest_plan_;

  runtime::Allocation last_token_;
  runtime::Allocation token_counts_;
  // Pool on: one block of activations for all recordings (steps run one after the other), and
  // parameters and sampled ids for each ring slot.
  runtime::Allocation workspace_;
  std::vector<std::unique_ptr<Memory>> slot_memory_;

  struct Abandoned {
    std::deque<StepInFlight> steps;
    std::vector<runtime::Allocation> allocations;
    std::vector<std::unique_ptr<Memory>> memory;
    std::shared_ptr<Queue> queue;  // last: destroyed first, before what it may write
  };
  std::list<Abandoned> abandoned_;

  std::shared_ptr<Timeline> timeline_;  // without the ring
  uint64_t last_value_ = 0;
  std::vector<std::byte> params_bytes_;
  uint64_t busy_ns_ = 0;
  uint64_t waited_ns_ = 0;
  uint64_t steps_ = 0;                    // without the ring
  std::optional<uint64_t> ring_wait_ns_;  // when the wait for a slot that goes on began
};

}  // namespace krserve::engine
