// Continuous batching: which rows of which sequences make the next step.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <vector>

#include "engine/kv_cache/kv_cache.h"
#include "engine/scheduler/sequence.h"

namespace krserve::engine {

// Consecutive rows of one sequence in a step.
struct PlannedRows {
  SequencePtr sequence;
  uint32_t slot = 0;
  uint32_t first_position = 0;
  uint32_t count = 0;
  bool samples = false;     // the last row is sampled
  uint32_t draw_index = 0;  // how many tokens the sequence drew before this one
  bool clear_counts = false;
  std::vector<uint32_t> pages;  // as of this step

  // Whether any of the rows is the prompt's.
  bool has_prompt() const { return first_position < sequence->prompt_tokens; }
};

struct StepPlan {
  std::vector<PlannedRows> parts;
  uint32_t rows = 0;
  uint32_t samples = 0;

  bool empty() const { return parts.empty(); }
  bool has_prompt() const {
    return std::any_of(parts.begin(), parts.end(),
                       [](const PlannedRows& part) { return part.has_prompt(); });
  }
};

struct SchedulerOptions {
  uint32_t slots = 8;
  uint32_t prefill_chunk_tokens = 256;  // most prompt rows of a step
};

// Policy: rows of running sequences first (one each), then prompt chunks in order of arrival. When
// pages run out, the sequence that was admitted last gives its pages up and is recomputed later.
// Not thread-safe.
class Scheduler {
 public:
  Scheduler(const SchedulerOptions& options, KvCache& cache);

  void add(SequencePtr sequence);
  // The next step; empty when there is nothing to run now.
  StepPlan plan();

  // A step that contained the sequence has ended and its token, if any, is known.
  void step_ended(const SequencePtr& sequence);
  // Takes the sequence out for good; its pages are free at once.
  void finish(const SequencePtr& sequence);
  // Recompute from the known tokens, later; used after a device error.
  void preempt(const SequencePtr& sequence);

  uint32_t waiting() const { return static_cast<uint32_t>(waiting_.size()); }
  uint32_t running() const;
  bool idle() const { return waiting_.empty() && active_.empty(); }
  uint64_t preemptions() const { return preemptions_; }
  std::vector<SequencePtr> all() const;
  uint32_t slots() const { return options_.slots; }

 private:
  bool admit_next();
  bool wants_row(const Sequence& sequence) const;
  // Makes room for `tokens` of the sequence, at the cost of later ones. False if it had to go
  // itself.
  bool secure_pages(const SequencePtr& sequence, uint32_t tokens);
  void schedule(StepPlan& plan, const SequencePtr& sequence, uint32_t rows);
  void release(Sequence& sequence);
  void requeue(const SequencePtr& sequence);

  const SchedulerOptions options_;
  KvCache& cache_;
  std::deque<SequencePtr> waiting_;
  std::vector<SequencePtr> active_;  // kRunning and kDraining, in order of admission
  std::vector<uint32_t> free_slots_;
  uint64_t preemptions_ = 0;
};

}  // namespace krserve::engine
