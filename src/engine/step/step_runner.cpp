#include "engine/step/step_runner.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"
#include "base/log.h"
#include "base/units.h"

namespace krserve::engine {

using runtime::Allocation;
using runtime::MemoryTag;
using runtime::TracePhase;

namespace {

// How long a queue with a failed step may take to end the others that it holds.
constexpr std::chrono::seconds kRecoverPatience{2};
// For the first command on a new queue; a device that does not run it is lost.
constexpr std::chrono::seconds kClearPatience{30};

// Adds the time until its end to a sum.
class WaitTime {
 public:
  explicit WaitTime(uint64_t& sum_ns) : sum_ns_(sum_ns), start_ns_(now_ns()) {}
  ~WaitTime() { sum_ns_ += now_ns() - start_ns_; }
  WaitTime(const WaitTime&) = delete;
  WaitTime& operator=(const WaitTime&) = delete;

 private:
  uint64_t& sum_ns_;
  const uint64_t start_ns_;
};

}  // namespace

struct StepRunner::Memory {
  StepCapacity capacity;
  StepBuffers buffers;
  std::vector<Allocation> owned;
  // Host memory that the device reaches, where a recording fetches its parameters and leaves its
  // tokens; none where host and device share memory, or steps are not recorded.
  std::unique_ptr<Buffer> mailbox;
  std::unique_ptr<Buffer> sampled;
};

StepRunner::StepRunner(Components& components, const Decoder& decoder,
                       const std::vector<BufferView>& kv_segments, const StepRunnerOptions& options)
    : c_(components), decoder_(decoder), kv_segments_(kv_segments), options_(options) {
  largest_ = {options.max_rows, options.slots};
  if (c_.pool) {
    largest_plan_ = runtime::plan_offsets(activation_tensors(decoder_.config(), largest_), 256);
  }
  timeline_ = c_.device->new_timeline();
  make_slot_state();
}

// What the device keeps of each slot between steps.
void StepRunner::make_slot_state() {
  const uint64_t slots = options_.slots;
  last_token_ = c_.allocator->allocate(slots * sizeof(int32_t), MemoryTag::kOther);
  token_counts_ = c_.allocator->allocate(slots * decoder_.config().vocab_size * sizeof(uint16_t),
                                         MemoryTag::kOther);
  auto commands = c_.compute->begin(CommandBufferUse::kOnce, "clear slots");
  commands->fill(last_token_.view(), 0);
  const TimelinePoint cleared{timeline_, ++last_value_};
  c_.compute->commit(commands, {}, {&cleared, 1});
  if (cleared.wait(kClearPatience) == WaitResult::kReached) return;
  throw_error<DeviceError>("engine.step",
                           "the device did not clear the state of {} slots within {} s; it is lost",
                           slots, kClearPatience.count());
}

// Nothing on the device may use the buffers any more.
StepRunner::~StepRunner() {
  if (!c_.compute->wait_idle(std::chrono::seconds(5))) return;
  if (!c_.trace || !c_.trace->records()) return;
  try {
    c_.transfers->wait_all(std::chrono::seconds(1));  // the last copies reach the trace
  } catch (const Error& error) {
    log().debug("[engine.stop] last copies: {}", error.what());
  }
}

uint32_t StepRunner::depth() const {
  return c_.ring ? c_.ring->size() : 1;
}

bool StepRunner::ready() const {
  return !c_.ring || c_.ring->next_is_free();
}

// Kernels that read the row count need one recording only; others get one per power of two. Where
// rows of prompts take kernels of their own, steps without any are recorded without those.
StepCapacity StepRunner::capacity_for(const StepPlan& plan) const {
  const bool prompts = c_.device->info().prompt_matmul && plan.has_prompt();
  if (c_.device->info().dynamic_rows) return {largest_.rows, largest_.samples, prompts};
  return {std::min(largest_.rows, std::bit_ceil(plan.rows)),
          std::min(largest_.samples, std::bit_ceil(std::max(1U, plan.samples))), prompts};
}

// `planned`: activations share one block by their lifetimes; else each is a buffer of its own, as
// a runtime without a pool would have it.
StepRunner::Memory StepRunner::make_memory(StepCapacity capacity, bool planned) {
  Memory memory;
  memory.capacity = capacity;
  StepBuffers& b = memory.buffers;
  const auto own = [&](uint64_t bytes, MemoryTag tag) {
    memory.owned.push_back(c_.allocator->allocate(bytes, tag));
    return memory.owned.back().view();
  };
  b.last_token = last_token_.view();
  b.token_counts = token_counts_.view();
  b.kv_segments = kv_segments_;
  b.step_params = own(step_params_bytes(capacity, options_.max_pages), MemoryTag::kStaging);
  b.sampled = own(capacity.samples * sizeof(int32_t), MemoryTag::kStaging);
  auto tensors = activation_tensors(decoder_.config(), capacity);
  if (!planned) {
    for (const auto& tensor : tensors) {
      set_activation(b, tensor.name, own(tensor.bytes, MemoryTag::kActivations));
    }
    return memory;
  }
  const auto plan = runtime::plan_offsets(std::move(tensors), 256);
  if (!workspace_ || workspace_.view().bytes < plan.planned_bytes) {
    workspace_ = c_.allocator->allocate(plan.planned_bytes, MemoryTag::kActivations);
  }
  for (const auto& tensor : plan.tensors) {
    set_activation(b, tensor.name, workspace_.view().sub(tensor.offset, tensor.bytes));
  }
  return memory;
}

StepRunner::Memory& StepRunner::memory_of_slot(uint32_t slot) {
  if (slot_memory_.size() <= slot) slot_memory_.resize(slot + 1);
  if (!slot_memory_[slot]) {
    Memory memory = make_memory(largest_, true);
    if (c_.blit && !c_.device->info().unified_memory) add_mailbox(memory);
    slot_memory_[slot] = std::make_unique<Memory>(std::move(memory));
  }
  return *slot_memory_[slot];
}

// Two copies less to commit for each step.
void StepRunner::add_mailbox(Memory& memory) {
  memory.mailbox = c_.device->new_buffer(mailbox_bytes(largest_), Storage::kStaging);
  memory.sampled = c_.device->new_buffer(largest_.samples * sizeof(int32_t), Storage::kStaging);
  memory.buffers.sampled = whole(*memory.sampled);
}

uint64_t StepRunner::mailbox_bytes(StepCapacity capacity) const {
  const uint64_t pages = ops::step_layout(capacity.rows, capacity.samples).pages_offset +
                         options_.mailbox_pages * sizeof(uint32_t);
  return std::min(pages, step_params_bytes(capacity, options_.max_pages));
}

runtime::BlitId StepRunner::upload(const StepPlan& plan, StepCapacity capacity,
                                   const Memory& memory) {
  const TracePhase phase(c_.trace, "upload params");
  write_step_params(plan, capacity, params_bytes_);
  const uint64_t bytes = params_bytes_.size();
  uint64_t posted = 0;
  if (memory.mailbox) {
    posted = std::min(bytes, mailbox_bytes(capacity));
    c_.transfers->upload(whole(*memory.mailbox), params_bytes_.data(), posted);
  }
  const BufferView& params = memory.buffers.step_params;
  return c_.transfers->upload(params.sub(posted, params.bytes - posted),
                              params_bytes_.data() + posted, bytes - posted);
}

void StepRunner::start_download(StepInFlight& step, const BufferView& sampled) {
  step.sampled = std::make_unique<std::vector<int32_t>>(step.plan.samples);
  step.download = c_.transfers->download(step.sampled->data(), sampled,
                                         step.plan.samples * sizeof(int32_t), step.end);
}

StepInFlight StepRunner::submit(StepPlan plan, bool after_idle) {
  return c_.ring ? submit_with_ring(std::move(plan), after_idle) : submit_blocking(std::move(plan));
}

StepInFlight StepRunner::submit_with_ring(StepPlan plan, bool after_idle) {
  StepInFlight step;
  step.plan = std::move(plan);
  const StepCapacity capacity = capacity_for(step.plan);
  {
    const TracePhase phase(c_.trace, "acquire");
    step.ring_slot = c_.ring->acquire();
  }
  try {
    // Without the pool every step has its own buffers, so its commands cannot be replayed.
    Memory once;
    if (!c_.pool) once = make_memory(capacity, false);
    Memory& memory = c_.pool ? memory_of_slot(step.ring_slot.index) : once;
    const TimelinePoint uploaded = c_.transfers->completion(upload(step.plan, capacity, memory));
    bool replayed = false;
    const auto commands = ring_commands(step.ring_slot, memory, capacity, replayed);
    const TracePhase phase(c_.trace, "commit");
    step.end = c_.ring->commit(step.ring_slot, commands, {&uploaded, uploaded.timeline ? 1U : 0U},
                               replayed, after_idle);
    if (step.plan.samples > 0) start_download(step, memory.buffers.sampled);
    step.owned = std::move(once.owned);
  } catch (...) {
    c_.ring->abandon(step.ring_slot);
    throw;
  }
  if (!step.sampled) step.sampled = std::make_unique<std::vector<int32_t>>();
  return step;
}

// One recording for each bucket: rows and samples tell a decode step of n sequences (n, n) from a
// chunk of a prompt (many rows, few samples).
std::shared_ptr<CommandBuffer> StepRunner::ring_commands(const runtime::RingSlot& slot,
                                                         Memory& memory, StepCapacity capacity,
                                                         bool& replayed) {
  const uint64_t key =
      uint64_t{capacity.rows} << 32 | uint64_t{capacity.samples} << 1 | (capacity.prompts ? 1 : 0);
  auto commands = c_.pool ? c_.ring->recording(slot, key) : nullptr;
  replayed = commands != nullptr;
  if (replayed) return commands;
  const TracePhase phase(c_.trace, "encode");
  commands = c_.pool ? c_.ring->begin_recording(slot, key, "step") : c_.ring->begin_once("step");
  StepBuffers buffers = memory.buffers;
  trim_activations(buffers, decoder_.config(), capacity);
  if (memory.mailbox) {
    const uint64_t bytes = mailbox_bytes(capacity);
    commands->copy(buffers.step_params, whole(*memory.mailbox).sub(0, bytes));
    commands->barrier();
  }
  decoder_.encode(*commands, buffers, capacity);
  return commands;
}

// The baseline: encode afresh, commit, wait for completion.
StepInFlight StepRunner::submit_blocking(StepPlan plan) {
  StepInFlight step;
  step.plan = std::move(plan);
  const StepCapacity capacity{step.plan.rows, std::max(1U, step.plan.samples),
                              c_.device->info().prompt_matmul && step.plan.has_prompt()};
  Memory memory;
  if (c_.pool) {
    memory = make_memory(capacity, true);
    memory.owned.push_back(std::move(workspace_));
  } else {
    memory = make_memory(capacity, false);
  }
  const TimelinePoint uploaded = c_.transfers->completion(upload(step.plan, capacity, memory));
  auto commands = c_.compute->begin(CommandBufferUse::kOnce, "step");
  {
    const TracePhase phase(c_.trace, "encode");
    decoder_.encode(*commands, memory.buffers, capacity);
  }
  step.end = {timeline_, ++last_value_};
  runtime::TraceInterval interval;
  {
    const TracePhase phase(c_.trace, "commit");
    interval = {c_.trace, Signpost::kStep, "in flight"};
    c_.compute->commit(commands, {&uploaded, uploaded.timeline ? 1U : 0U}, {&step.end, 1});
  }
  step.sampled = std::make_unique<std::vector<int32_t>>(step.plan.samples);
  {
    const TracePhase phase(c_.trace, "wait for step");
    const WaitTime waiting(waited_ns_);
    step.end.wait(kNoTimeout);
    interval = {};
  }
  if (c_.trace) {
    c_.trace->add(runtime::TraceTrack::kCompute, "step", commands->timestamps(), ++steps_);
  }
  busy_ns_ += commands->timestamps().end_ns - commands->timestamps().start_ns;
  c_.transfers->add_compute(commands->timestamps());
  if (step.plan.samples > 0) {
    start_download(step, memory.buffers.sampled);
    const WaitTime waiting(waited_ns_);
    c_.transfers->wait(step.download);
    step.download = 0;
  }
  return step;
}

WaitResult StepRunner::wait(StepInFlight& step, std::chrono::nanoseconds timeout) {
  const WaitTime waiting(waited_ns_);
  if (step.end.wait(timeout) == WaitResult::kTimeout) return WaitResult::kTimeout;
  return c_.transfers->wait(step.download, timeout);
}

WaitResult StepRunner::wait_oldest(StepInFlight& step, std::chrono::nanoseconds timeout) {
  const TracePhase phase(c_.trace, "wait for step");
  const WaitTime waiting(waited_ns_);
  if (c_.ring && !ring_wait_ns_ && !c_.ring->next_is_free()) ring_wait_ns_ = c_.ring->begin_wait();
  const WaitResult result = step.end.wait(timeout);
  if (result == WaitResult::kTimeout) return result;
  if (ring_wait_ns_) c_.ring->end_wait(*ring_wait_ns_);
  ring_wait_ns_.reset();
  return c_.transfers->wait(step.download, timeout);
}

bool StepRunner::recover(std::deque<StepInFlight> lost) {
  for (const StepInFlight& step : lost) c_.transfers->cancel(step.download);
  const bool at_rest = c_.compute->wait_idle(kRecoverPatience);
  if (!at_rest) {
    Abandoned& old = abandoned_.emplace_back();
    old.queue = c_.compute;
    old.steps = std::move(lost);
    old.memory = std::move(slot_memory_);
    old.allocations.push_back(std::move(workspace_));
    old.allocations.push_back(std::move(last_token_));
    old.allocations.push_back(std::move(token_counts_));
    slot_memory_.clear();
  }
  c_.compute = c_.device->new_queue(QueueKind::kCompute);
  timeline_ = c_.device->new_timeline();
  last_value_ = 0;
  ring_wait_ns_.reset();
  if (c_.ring) c_.ring->rebuild(c_.compute);
  if (!at_rest) make_slot_state();
  return at_rest;
}

bool StepRunner::reclaim() {
  std::erase_if(abandoned_, [](const Abandoned& old) {
    return old.queue->wait_idle(std::chrono::nanoseconds(0));
  });
  return abandoned_.empty();
}

void StepRunner::note_completed() {
  if (!c_.ring) return;
  for (const Timestamps& times : c_.ring->take_completed()) {
    busy_ns_ += times.end_ns - times.start_ns;
    c_.transfers->add_compute(times);
  }
}

void StepRunner::reset_busy() {
  note_completed();
  busy_ns_ = 0;
}

}  // namespace krserve::engine
