#include "engine/engine_impl.h"

#include <algorithm>
#include <random>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/units.h"

namespace krserve::engine {
namespace {

using runtime::TracePhase;

// How long the engine's thread sleeps at most before it looks for new requests and cancels.
constexpr std::chrono::milliseconds kWaitSlice{10};

// A stopping engine gives up on a step that does not end.
constexpr uint64_t kStopPatienceNs = 5'000'000'000;

ErrorKind kind_of(const Error& error) {
  if (dynamic_cast<const TimeoutError*>(&error)) return ErrorKind::kTimeout;
  if (dynamic_cast<const OutOfMemoryError*>(&error)) return ErrorKind::kOutOfMemory;
  return dynamic_cast<const DeviceError*>(&error) ? ErrorKind::kDevice : ErrorKind::kOther;
}

uint64_t random_seed() {
  static thread_local std::mt19937_64 generator{std::random_device{}()};
  return generator();
}

}  // namespace

SequencePtr EngineImpl::make_sequence(Request request, ChunkSink sink) const {
  const ModelInfo& model = p_->info;
  request.sampling.validate();
  if (request.prompt.empty()) {
    throw RequestError("engine.submit", "the prompt has no tokens; send at least one");
  }
  if (request.prompt.size() >= model.context_length) {
    throw_error<RequestError>("engine.submit",
                              "the prompt has {} tokens and the context is {} tokens, prompt and "
                              "output together; shorten the prompt or raise engine.ctx_size",
                              request.prompt.size(), model.context_length);
  }
  for (const int32_t token : request.prompt) {
    if (token >= 0 && static_cast<uint32_t>(token) < model.vocab_size) continue;
    throw_error<RequestError>("engine.submit", "token id {} in the prompt; the vocabulary is 0..{}",
                              token, model.vocab_size - 1);
  }
  for (const LogitBias& entry : request.sampling.logit_bias) {
    if (entry.token >= 0 && static_cast<uint32_t>(entry.token) < model.vocab_size) continue;
    throw_error<RequestError>("engine.submit", "token id {} in logit_bias; the vocabulary is 0..{}",
                              entry.token, model.vocab_size - 1);
  }
  if (!p_->tokenizer && !request.stop.empty()) {
    throw_error<RequestError>("engine.submit",
                              "{} stop strings, and this build makes no text; use stop_token_ids",
                              request.stop.size());
  }
  const auto prompt_tokens = static_cast<uint32_t>(request.prompt.size());
  const uint32_t room = model.context_length - prompt_tokens;
  const auto wanted = request.max_tokens ? request.max_tokens
                                         : static_cast<uint32_t>(p_->config.default_max_tokens);
  auto sequence = std::make_shared<Sequence>(std::move(request), Detokenizer(p_->tokenizer));
  sequence->tokens = sequence->request.prompt;
  sequence->prompt_tokens = prompt_tokens;
  sequence->max_tokens = wanted ? std::min(wanted, room) : room;
  sequence->seed = sequence->request.sampling.seed.value_or(random_seed());
  sequence->sink = std::move(sink);
  sequence->submitted_ns = now_ns();
  return sequence;
}

RequestId EngineImpl::submit(Request request, ChunkSink sink) {
  SequencePtr sequence = make_sequence(std::move(request), std::move(sink));
  const std::lock_guard lock(intake_mutex_);
  if (draining_ || stopping_) {
    throw OverloadError("engine.submit", "the server is shutting down; try another one");
  }
  const auto most = static_cast<uint64_t>(p_->config.max_queued + p_->config.parallel);
  if (unfinished_ >= most) {
    throw_error<OverloadError>("engine.submit",
                               "{} requests run or wait, the most there may be; try again later or "
                               "raise engine.max_queued",
                               unfinished_);
  }
  sequence->id = next_id_++;
  if (unfinished_++ == 0) work_since_ns_.store(now_ns());
  intake_.push_back(sequence);
  intake_changed_.notify_one();
  return sequence->id;
}

void EngineImpl::cancel(RequestId id) {
  const std::lock_guard lock(intake_mutex_);
  cancels_.push_back(id);
  intake_changed_.notify_one();
}

EngineImpl::EngineImpl(std::unique_ptr<EngineParts> parts) : p_(std::move(parts)) {
  reset_statistics();
  last_progress_ns_.store(now_ns());
  thread_ = std::thread([this] {
    try {
      run();
    } catch (const std::exception& error) {
      // A bug of ours: say so on /health instead of taking the process down.
      log().error("[engine.run] stopped: {}", error.what());
      {
        const std::lock_guard lock(statistics_mutex_);
        failure_ = error.what();
      }
      fail_all(error.what());
    }
  });
}

EngineImpl::~EngineImpl() {
  {
    const std::lock_guard lock(intake_mutex_);
    stopping_ = true;
  }
  intake_changed_.notify_all();
  thread_.join();
}

// After a failure of the engine itself: nobody waits for an answer that cannot come.
void EngineImpl::fail_all(const std::string& why) {
  std::deque<SequencePtr> left;
  {
    const std::lock_guard lock(intake_mutex_);
    draining_ = true;
    left.swap(intake_);
  }
  for (const auto& [id, sequence] : sequences_) left.push_back(sequence);
  for (const SequencePtr& sequence : left) {
    if (sequence->state != SequenceState::kFinished) {
      finish(sequence, FinishReason::kError, "", "[engine.run] the engine stopped: " + why,
             ErrorKind::kOther);
    }
  }
}

void EngineImpl::run() {
  for (;;) {
    const uint64_t begin_ns = now_ns();
    const uint64_t waited_ns = p_->runner->waited_ns();
    take_intake();
    lift_quarantine();
    {
      const std::lock_guard lock(intake_mutex_);
      const bool hung = now_ns() - last_progress_ns_.load() > kStopPatienceNs;
      if (stopping_ && intake_.empty() && sequences_.empty() && (steps_.empty() || hung)) return;
    }
    if (advance()) {
      host_ns_ += now_ns() - begin_ns - (p_->runner->waited_ns() - waited_ns);
    } else {
      sleep_until_work();
    }
  }
}

bool EngineImpl::advance() {
  if (!steps_.empty() && steps_.front().end.reached()) {
    finish_front();
    return true;
  }
  if (submit_next()) return true;
  if (steps_.empty()) return false;
  wait_for_front();
  return true;
}

void EngineImpl::sleep_until_work() {
  publish();
  host_ns_ = 0;
  std::unique_lock lock(intake_mutex_);
  const bool busy = intake_changed_.wait_for(lock, std::chrono::milliseconds(200), [this] {
    return !intake_.empty() || !cancels_.empty() || stopping_;
  });
  lock.unlock();
  if (!busy) p_->components.allocator->trim();
}

void EngineImpl::take_intake() {
  std::deque<SequencePtr> arrived;
  std::deque<RequestId> cancelled;
  bool stop = false;
  {
    const std::lock_guard lock(intake_mutex_);
    if (intake_.empty() && cancels_.empty() && !stopping_) return;
    arrived.swap(intake_);
    cancelled.swap(cancels_);
    stop = stopping_;
  }
  for (SequencePtr& sequence : arrived) {
    sequences_[sequence->id] = sequence;
    p_->scheduler->add(std::move(sequence));
  }
  if (stop) {
    for (const auto& [id, sequence] : sequences_) cancelled.push_back(id);
  }
  for (const RequestId id : cancelled) {
    const auto it = sequences_.find(id);
    if (it != sequences_.end()) finish(SequencePtr(it->second), FinishReason::kCancelled, "");
  }
}

bool EngineImpl::submit_next() {
  if (steps_.size() >= p_->runner->depth() || !p_->runner->ready()) return false;
  StepPlan plan;
  {
    const TracePhase phase(p_->components.trace, "schedule");
    plan = p_->scheduler->plan();
  }
  if (plan.empty()) {
    starved_ = true;
    return false;
  }
  const uint64_t now = now_ns();
  for (const PlannedRows& part : plan.parts) {
    if (part.sequence->scheduled_ns == 0) part.sequence->scheduled_ns = now;
  }
  {
    const std::lock_guard lock(statistics_mutex_);
    ++statistics_.steps_total;
    statistics_.iteration_tokens.observe(plan.rows);
    statistics_.requests_running = p_->scheduler->running();
    statistics_.requests_waiting = p_->scheduler->waiting();
  }
  if (steps_.empty()) last_progress_ns_.store(now);
  in_flight_.store(static_cast<uint32_t>(steps_.size()) + 1);
  try {
    // A copy of the plan stays here for the case that the step cannot be committed.
    steps_.push_back(p_->runner->submit(plan, starved_));
    starved_ = false;
  } catch (const Error& error) {
    contain(plan, false, error);
  }
  return true;
}

void EngineImpl::wait_for_front() {
  StepInFlight& front = steps_.front();
  try {
    if (p_->runner->wait_oldest(front, kWaitSlice) == WaitResult::kReached) return;
    const uint64_t stuck_ns = now_ns() - last_progress_ns_.load();
    const auto limit = p_->components.ring ? p_->components.ring->timeout() : kNoTimeout;
    if (limit == kNoTimeout || stuck_ns < static_cast<uint64_t>(limit.count())) return;
    p_->components.ring->note_timeout();
    throw_error<TimeoutError>("engine.step",
                              "no step ended for {} ms (command_buffer_ring."
                              "timeout_ms = {})",
                              stuck_ns / 1'000'000, limit.count() / 1'000'000);
  } catch (const Error& error) {
    contain(StepPlan(front.plan), true, error);
  }
}

void EngineImpl::finish_front() {
  const uint64_t now = now_ns();
  last_progress_ns_.store(now);
  try {
    const TracePhase phase(p_->components.trace, "read tokens");
    p_->runner->wait(steps_.front(), kNoTimeout);
  } catch (const Error& error) {
    contain(StepPlan(steps_.front().plan), true, error);
    return;
  }
  const TracePhase phase(p_->components.trace, "process outputs");
  const StepInFlight step = std::move(steps_.front());
  steps_.pop_front();
  in_flight_.store(static_cast<uint32_t>(steps_.size()));
  p_->runner->note_completed();
  size_t sample = 0;
  for (const PlannedRows& part : step.plan.parts) {
    if (part.samples) on_token(part.sequence, p_->runner->tokens(step)[sample++], now);
    p_->scheduler->step_ended(part.sequence);
  }
  publish();
  count_host_time();
}

// The step's own share comes in with the next one's: this turn is not over.
void EngineImpl::count_host_time() {
  const std::lock_guard lock(statistics_mutex_);
  host_step_ns_.observe(host_ns_);
  host_total_ns_ += host_ns_;
  host_ns_ = 0;
}

void EngineImpl::contain(const StepPlan& failed, bool front_failed, const Error& error) {
  const std::string why = error.what();
  const ErrorKind kind = kind_of(error);
  log().error("[engine.step] a step failed, {} requests with it: {}", failed.parts.size(), why);
  std::vector<PlannedRows> lost;
  for (size_t i = front_failed ? 1 : 0; i < steps_.size(); ++i) {
    const auto& parts = steps_[i].plan.parts;
    lost.insert(lost.end(), parts.begin(), parts.end());
  }
  in_flight_.store(0);
  if (!p_->runner->recover(std::exchange(steps_, {}))) quarantine(failed, lost);
  for (const PlannedRows& part : failed.parts) {
    p_->scheduler->step_ended(part.sequence);
    if (part.sequence->state != SequenceState::kFinished) {
      finish(part.sequence, FinishReason::kError, "", why, kind);
    }
  }
  // Their tokens of the lost steps are drawn again, from the same seed and counter.
  for (const PlannedRows& part : lost) p_->scheduler->preempt(part.sequence);
  for (const PlannedRows& part : lost) p_->scheduler->step_ended(part.sequence);
  last_progress_ns_.store(now_ns());
  starved_ = true;
}

// A hung step may yet write to its pages and slots: nobody else gets those pages, and every running
// sequence is computed again, in fresh device state.
void EngineImpl::quarantine(const StepPlan& failed, const std::vector<PlannedRows>& lost) {
  for (const PlannedRows& part : failed.parts) p_->cache->quarantine(part.pages);
  for (const PlannedRows& part : lost) p_->cache->quarantine(part.pages);
  quarantined_ = true;
  for (const SequencePtr& sequence : p_->scheduler->all()) p_->scheduler->preempt(sequence);
}

void EngineImpl::lift_quarantine() {
  if (!quarantined_ || !p_->runner->reclaim()) return;
  p_->cache->lift_quarantine();
  quarantined_ = false;
}

bool EngineImpl::drain(uint64_t timeout_ns) {
  std::unique_lock lock(intake_mutex_);
  draining_ = true;
  const bool done = idle_.wait_for(lock, std::chrono::nanoseconds(timeout_ns),
                                   [this] { return unfinished_ == 0; });
  if (done) return true;
  stopping_ = true;
  intake_changed_.notify_all();
  return idle_.wait_for(lock, std::chrono::seconds(5), [this] { return unfinished_ == 0; }) &&
         false;
}

}  // namespace krserve::engine
