// The output half of EngineImpl: tokens to text, finish reasons, times and statistics.
#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "base/units.h"
#include "engine/engine_impl.h"
#include "kernels/ops/sample.h"

namespace krserve::engine {
namespace {

double seconds(uint64_t ns) {
  return static_cast<double>(ns) / 1e9;
}

RequestTimes times_of(const Sequence& sequence, uint64_t now) {
  const auto between = [](uint64_t from, uint64_t to) { return from && to > from ? to - from : 0; };
  RequestTimes times;
  times.queue_ns = between(sequence.submitted_ns, sequence.scheduled_ns);
  times.prefill_ns = between(sequence.scheduled_ns, sequence.first_token_ns);
  times.decode_ns = between(sequence.first_token_ns, sequence.last_token_ns);
  times.ttft_ns = between(sequence.submitted_ns, sequence.first_token_ns);
  times.total_ns = between(sequence.submitted_ns, now);
  return times;
}

// vLLM's buckets, so that dashboards made for it fit.
EngineStatistics fresh_statistics() {
  EngineStatistics s;
  const std::vector<double> latency{0.3,  0.5,  0.8,  1.0,  1.5,  2.0,  2.5,  5.0,
                                    10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0};
  const std::vector<double> tokens{1,   2,    5,    10,   20,    50,    100,   200,
                                   500, 1000, 2000, 5000, 10000, 20000, 50000, 100000};
  s.time_to_first_token_s = Histogram(
      {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0});
  s.inter_token_latency_s = Histogram({0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15,
                                       0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5});
  s.e2e_latency_s = Histogram(latency);
  s.queue_time_s = Histogram(latency);
  s.prefill_time_s = Histogram(latency);
  s.decode_time_s = Histogram(latency);
  s.prompt_tokens = Histogram(tokens);
  s.generation_tokens = Histogram(tokens);
  s.iteration_tokens = Histogram({1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192});
  return s;
}

}  // namespace

void EngineImpl::on_token(const SequencePtr& sequence, int32_t token, uint64_t now) {
  Sequence& s = *sequence;
  if (s.state == SequenceState::kFinished) {
    const std::lock_guard lock(statistics_mutex_);
    ++statistics_.discarded_tokens_total;
    return;
  }
  if (token == ops::kSampledNan) {
    finish(sequence, FinishReason::kError, "",
           "[engine.sample] the model's logits are not numbers; the weights may be damaged or the "
           "KV type too narrow",
           ErrorKind::kOther);
    return;
  }
  s.tokens.push_back(token);
  {
    const std::lock_guard lock(statistics_mutex_);
    ++statistics_.generation_tokens_total;
    if (s.first_token_ns == 0) {
      statistics_.prompt_tokens_total += s.prompt_tokens;
      statistics_.time_to_first_token_s.observe(seconds(now - s.submitted_ns));
    } else {
      statistics_.inter_token_latency_s.observe(seconds(now - s.last_token_ns));
    }
  }
  if (s.first_token_ns == 0) s.first_token_ns = now;
  s.last_token_ns = now;

  const auto& stop_ids = s.request.stop_token_ids;
  const bool stops = (!s.request.ignore_eos && p_->eos.contains(token)) ||
                     std::find(stop_ids.begin(), stop_ids.end(), token) != stop_ids.end();
  if (stops) {
    auto rest = s.stops.push(s.detokenizer.finish());
    finish(sequence, FinishReason::kStop, rest.text + s.stops.finish());
    return;
  }
  StopMatcher::Result out = s.stops.push(detokenize(s, token));
  if (out.stopped) {
    finish(sequence, FinishReason::kStop, std::move(out.text));
  } else if (s.output_tokens() >= s.max_tokens) {
    const auto rest = s.stops.push(s.detokenizer.finish());
    finish(sequence, rest.stopped ? FinishReason::kStop : FinishReason::kLength,
           out.text + rest.text + s.stops.finish());
  } else {
    emit(s, std::move(out.text), token);
  }
}

std::string EngineImpl::detokenize(Sequence& sequence, int32_t token) const {
  const runtime::TracePhase phase(p_->components.trace, "detokenize");
  return sequence.detokenizer.push(token);
}

void EngineImpl::emit(Sequence& sequence, std::string text, int32_t token) {
  Chunk chunk;
  chunk.text = std::move(text);
  chunk.tokens = {token};
  chunk.prompt_tokens = sequence.prompt_tokens;
  chunk.completion_tokens = sequence.output_tokens();
  sequence.sink(std::move(chunk));
}

void EngineImpl::finish(const SequencePtr& sequence, FinishReason reason, std::string text,
                        const std::string& error, ErrorKind kind) {
  p_->scheduler->finish(sequence);
  sequences_.erase(sequence->id);
  Chunk chunk;
  chunk.text = std::move(text);
  if (reason == FinishReason::kStop || reason == FinishReason::kLength) {
    chunk.tokens = {sequence->tokens.back()};
  }
  chunk.finish = reason;
  chunk.error = error;
  chunk.error_kind = kind;
  chunk.prompt_tokens = sequence->prompt_tokens;
  chunk.completion_tokens = sequence->output_tokens();
  chunk.times = times_of(*sequence, now_ns());
  count_finish(*sequence, reason, chunk.times);
  publish();
  sequence->sink(std::move(chunk));
  sequence->sink = nullptr;  // lets go of the connection it holds
  const std::lock_guard lock(intake_mutex_);
  --unfinished_;
  idle_.notify_all();
}

void EngineImpl::count_finish(const Sequence& sequence, FinishReason reason,
                              const RequestTimes& times) {
  const std::lock_guard lock(statistics_mutex_);
  ++statistics_.finished_total[static_cast<size_t>(reason)];
  if (reason == FinishReason::kError) ++statistics_.requests_failed_total;
  if (reason == FinishReason::kError || reason == FinishReason::kCancelled) return;
  statistics_.e2e_latency_s.observe(seconds(times.total_ns));
  statistics_.queue_time_s.observe(seconds(times.queue_ns));
  statistics_.prefill_time_s.observe(seconds(times.prefill_ns));
  statistics_.decode_time_s.observe(seconds(times.decode_ns));
  statistics_.prompt_tokens.observe(sequence.prompt_tokens);
  statistics_.generation_tokens.observe(sequence.output_tokens());
}

HostStepStatistics EngineImpl::host_step() const {
  const auto us = [](uint64_t ns) { return static_cast<double>(ns) / 1e3; };
  HostStepStatistics out;
  out.count = host_step_ns_.count();
  if (out.count == 0) return out;
  out.mean_us = us(host_total_ns_) / static_cast<double>(out.count);
  out.p50_us = us(host_step_ns_.quantile(0.5));
  out.p99_us = us(host_step_ns_.quantile(0.99));
  return out;
}

// The engine thread's own numbers, where other threads may read them.
void EngineImpl::publish() {
  const std::lock_guard lock(statistics_mutex_);
  statistics_.requests_running = p_->scheduler->running();
  statistics_.requests_waiting = p_->scheduler->waiting();
  statistics_.preemptions_total = p_->scheduler->preemptions();
  statistics_.kv_pages_total = p_->cache->total_pages();
  statistics_.kv_pages_used = p_->cache->used_pages();
  statistics_.kv_cache_usage = static_cast<double>(statistics_.kv_pages_used) /
                               static_cast<double>(std::max(1U, statistics_.kv_pages_total));
  busy_ns_ = p_->runner->busy_ns();
}

EngineStatistics EngineImpl::statistics() const {
  const std::lock_guard lock(statistics_mutex_);
  EngineStatistics out = statistics_;
  out.pool = p_->components.allocator->statistics();
  out.pool.allocations_per_token = out.generation_tokens_total
                                       ? static_cast<double>(out.pool.total_allocations) /
                                             static_cast<double>(out.generation_tokens_total)
                                       : 0;
  out.pool.activation_planned_bytes = p_->runner->largest_plan().planned_bytes;
  out.pool.activation_naive_bytes = p_->runner->largest_plan().naive_bytes;
  out.blit = p_->components.transfers->statistics();
  if (p_->components.ring) out.ring = p_->components.ring->statistics();
  out.host_step = host_step();
  out.device_busy_ns = busy_ns_;
  const uint64_t wall = now_ns() - statistics_since_ns_;
  out.since_reset_s = static_cast<double>(wall) / 1e9;
  out.device_utilization =
      wall ? static_cast<double>(busy_ns_ - busy_base_ns_) / static_cast<double>(wall) : 0;
  return out;
}

void EngineImpl::reset_statistics() {
  const std::lock_guard lock(statistics_mutex_);
  const EngineStatistics old = statistics_;
  statistics_ = fresh_statistics();
  statistics_.requests_running = old.requests_running;
  statistics_.requests_waiting = old.requests_waiting;
  statistics_.kv_cache_usage = old.kv_cache_usage;
  statistics_.kv_pages_total = p_->cache->total_pages();
  statistics_.kv_pages_used = old.kv_pages_used;
  p_->components.allocator->reset_statistics();
  p_->components.transfers->reset_statistics();
  if (p_->components.ring) p_->components.ring->reset_statistics();
  host_step_ns_ = {};
  host_total_ns_ = 0;
  statistics_since_ns_ = now_ns();
  busy_base_ns_ = busy_ns_;
}

Health EngineImpl::health() const {
  {
    const std::lock_guard lock(statistics_mutex_);
    if (!failure_.empty()) return Health::kFailed;
  }
  const uint64_t limit = static_cast<uint64_t>(p_->config.health_stall_s) * 1'000'000'000;
  const std::lock_guard lock(intake_mutex_);
  const bool work = unfinished_ > 0 || in_flight_.load() > 0;
  if (limit > 0 && work && stuck_ns() > limit) return Health::kStalled;
  return draining_ || stopping_ ? Health::kDraining : Health::kReady;
}

// Since the last step ended, or since there has been anything to do.
uint64_t EngineImpl::stuck_ns() const {
  const uint64_t since = std::max(last_progress_ns_.load(), work_since_ns_.load());
  const uint64_t now = now_ns();
  return now > since ? now - since : 0;
}

std::string EngineImpl::health_detail() const {
  std::string failure;
  {
    const std::lock_guard lock(statistics_mutex_);
    failure = failure_;
  }
  if (!failure.empty()) return "the engine stopped: " + failure;
  const EngineStatistics s = statistics();
  return fmt::format(
      "{} steps in flight, nothing has moved for {} ms; {} requests running, {} waiting; ring: {} "
      "acquisitions, {} time-outs, {} rebuilds{}{}; pool: {} live objects, {} in use, {} fallback "
      "allocations; blit queue: {} pending, {} uploads, {} downloads, {} stalls",
      in_flight_.load(), stuck_ns() / 1'000'000, s.requests_running, s.requests_waiting,
      s.ring.total_acquisitions, s.ring.timeouts, s.ring.rebuilds,
      p_->components.ring ? "; " : " (off)",
      p_->components.ring ? p_->components.ring->describe() : std::string(), s.pool.live_objects,
      format_bytes(s.pool.live_bytes), s.pool.fallback_allocations, s.blit.queue_depth,
      s.blit.total_uploads, s.blit.total_downloads, s.blit.stall_count);
}

const Tokenizer& EngineImpl::tokenizer() const {
  if (!p_->tokenizer) throw TextError("engine.tokenizer", p_->tokenizer_error);
  return *p_->tokenizer;
}

const ChatTemplate& EngineImpl::chat_template() const {
  if (!p_->chat_template) throw TextError("engine.chat_template", p_->chat_template_error);
  return *p_->chat_template;
}

}  // namespace krserve::engine
