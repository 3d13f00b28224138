#include "engine/scheduler/scheduler.h"

#include <algorithm>

namespace krserve::engine {

Scheduler::Scheduler(const SchedulerOptions& options, KvCache& cache)
    : options_(options), cache_(cache) {
  for (uint32_t slot = options.slots; slot > 0; --slot) free_slots_.push_back(slot - 1);
}

void Scheduler::add(SequencePtr sequence) {
  waiting_.push_back(std::move(sequence));
}

uint32_t Scheduler::running() const {
  return static_cast<uint32_t>(active_.size());
}

bool Scheduler::wants_row(const Sequence& sequence) const {
  return sequence.state == SequenceState::kRunning && sequence.computed < sequence.length() &&
         !(sequence.all_drawn() && sequence.computed + 1 == sequence.length());
}

StepPlan Scheduler::plan() {
  while (admit_next()) {
  }
  StepPlan plan;
  // A copy: making room may take others out of active_.
  const std::vector<SequencePtr> candidates = active_;
  for (const SequencePtr& sequence : candidates) {
    const bool decodes = sequence->computed + 1 == sequence->length();
    if (wants_row(*sequence) && decodes && secure_pages(sequence, sequence->computed + 1)) {
      schedule(plan, sequence, 1);
    }
  }
  uint32_t budget = options_.prefill_chunk_tokens;
  for (const SequencePtr& sequence : candidates) {
    const uint32_t missing = sequence->length() - sequence->computed;
    if (budget == 0 || missing < 2 || !wants_row(*sequence)) continue;
    const uint32_t rows = std::min(budget, missing);
    if (!secure_pages(sequence, sequence->computed + rows)) continue;
    schedule(plan, sequence, rows);
    budget -= rows;
  }
  return plan;
}

// Admission asks for room for the whole prompt, so that a long one does not start only to be thrown
// out.
bool Scheduler::admit_next() {
  if (waiting_.empty() || free_slots_.empty()) return false;
  const SequencePtr& next = waiting_.front();
  if (cache_.pages_for(next->length() + 1) > cache_.free_pages()) return false;
  next->state = SequenceState::kRunning;
  next->slot = free_slots_.back();
  next->clear_counts = true;
  next->known_at_admission = static_cast<uint32_t>(next->tokens.size());
  free_slots_.pop_back();
  active_.push_back(next);
  cache_.grow(next->pages, next->length());
  waiting_.pop_front();
  return true;
}

bool Scheduler::secure_pages(const SequencePtr& sequence, uint32_t tokens) {
  while (!cache_.grow(sequence->pages, tokens)) {
    const auto victim = std::find_if(
        active_.rbegin(), active_.rend(),
        [](const SequencePtr& candidate) { return candidate->state == SequenceState::kRunning; });
    const bool itself = *victim == sequence;  // there is a victim: `sequence` runs
    preempt(SequencePtr(*victim));            // a copy: the list changes
    if (itself) return false;
  }
  return true;
}

void Scheduler::schedule(StepPlan& plan, const SequencePtr& sequence, uint32_t rows) {
  Sequence& s = *sequence;
  PlannedRows part;
  part.sequence = sequence;
  part.slot = s.slot;
  part.first_position = s.computed;
  part.count = rows;
  part.clear_counts = s.clear_counts;
  part.draw_index = s.drawn;
  part.pages = s.pages;
  s.computed += rows;
  s.clear_counts = false;
  part.samples = s.computed == s.length() && !s.all_drawn();
  if (part.samples) {
    ++s.drawn;
    ++plan.samples;
  }
  ++s.steps_in_flight;
  plan.rows += rows;
  plan.parts.push_back(std::move(part));
}

void Scheduler::preempt(const SequencePtr& sequence) {
  if (sequence->state != SequenceState::kRunning) return;
  ++preemptions_;
  cache_.release(sequence->pages);
  sequence->state = SequenceState::kDraining;
  if (sequence->steps_in_flight == 0) requeue(sequence);
}

// Back to the front of the queue, to be computed again from all tokens known.
void Scheduler::requeue(const SequencePtr& sequence) {
  release(*sequence);
  std::erase(active_, sequence);
  sequence->state = SequenceState::kWaiting;
  sequence->computed = 0;
  sequence->drawn = sequence->output_tokens();
  waiting_.push_front(sequence);
}

void Scheduler::step_ended(const SequencePtr& sequence) {
  if (sequence->steps_in_flight > 0) --sequence->steps_in_flight;
  if (sequence->state == SequenceState::kDraining && sequence->steps_in_flight == 0) {
    requeue(sequence);
  }
}

void Scheduler::finish(const SequencePtr& sequence) {
  release(*sequence);
  std::erase(active_, sequence);
  std::erase(waiting_, sequence);
  sequence->state = SequenceState::kFinished;
}

void Scheduler::release(Sequence& sequence) {
  cache_.release(sequence.pages);
  if (sequence.slot == kNoSlot) return;
  free_slots_.push_back(sequence.slot);
  sequence.slot = kNoSlot;
}

std::vector<SequencePtr> Scheduler::all() const {
  std::vector<SequencePtr> result(active_.begin(), active_.end());
  result.insert(result.end(), waiting_.begin(), waiting_.end());
  return result;
}

}  // namespace krserve::engine
