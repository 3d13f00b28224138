// The engine's thread: takes requests in, keeps steps in flight, hands tokens out.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/log_histogram.h"
#include "engine/engine.h"
#include "engine/kv_cache/kv_cache.h"
#include "engine/scheduler/scheduler.h"
#include "engine/step/step_runner.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace krserve::engine {

// What create() has loaded; moved into the engine. Declared in order of construction, so that
// members are destroyed before what they use.
struct EngineParts {
  Components components;
  std::shared_ptr<const Tokenizer> tokenizer;  // null in a build without one
  std::string tokenizer_error;
  std::shared_ptr<const ChatTemplate> chat_template;  // null if the model has none
  std::string chat_template_error;
  std::unique_ptr<KvCache> cache;
  std::unique_ptr<Decoder> decoder;
  std::unique_ptr<Scheduler> scheduler;
  std::unique_ptr<StepRunner> runner;
  ModelInfo info;
  EngineConfig config;
  std::unordered_set<int32_t> eos;
};

class EngineImpl final : public Engine {
 public:
  explicit EngineImpl(std::unique_ptr<EngineParts> parts);
  // Cancels what is left.
  ~EngineImpl() override;

  RequestId submit(Request request, ChunkSink sink) override;
  void cancel(RequestId id) override;
  Health health() const override;
  std::string health_detail() const override;
  const ModelInfo& model() const override { return p_->info; }
  const Tokenizer& tokenizer() const override;
  const ChatTemplate& chat_template() const override;
  EngineStatistics statistics() const override;
  void reset_statistics() override;
  bool drain(uint64_t timeout_ns) override;

 private:
  // Any thread.
  SequencePtr make_sequence(Request request, ChunkSink sink) const;
  uint64_t stuck_ns() const;
  HostStepStatistics host_step() const;  // with statistics_mutex_ held

  // The engine's thread from here on.
  void run();
  // Brings the steps on by one event; false when there are none.
  bool advance();
  void sleep_until_work();
  void fail_all(const std::string& why);
  void take_intake();
  bool submit_next();
  void wait_for_front();
  void finish_front();
  void count_host_time();
  void on_token(const SequencePtr& sequence, int32_t token, uint64_t now);
  std::string detokenize(Sequence& sequence, int32_t token) const;
  void emit(Sequence& sequence, std::string text, int32_t token);
  void finish(const SequencePtr& sequence, FinishReason reason, std::string text,
              const std::string& error = {}, ErrorKind kind = ErrorKind::kNone);
  void count_finish(const Sequence& sequence, FinishReason reason, const RequestTimes& times);
  // A step failed: its sequences fail, others in flight are computed again, the ring is rebuilt.
  // `front_failed`: it is steps_.front(); else it never got in flight.
  void contain(const StepPlan& failed, bool front_failed, const Error& why);
  void quarantine(const StepPlan& failed, const std::vector<PlannedRows>& lost);
  void lift_quarantine();
  void publish();

  std::unique_ptr<EngineParts> p_;

  mutable std::mutex intake_mutex_;
  std::condition_variable intake_changed_;
  std::condition_variable idle_;
  std::deque<SequencePtr> intake_;
  std::deque<RequestId> cancels_;
  uint32_t unfinished_ = 0;  // submitted, no last chunk yet
  bool draining_ = false;
  bool stopping_ = false;
  RequestId next_id_ = 1;

  std::unordered_map<RequestId, SequencePtr> sequences_;
  std::deque<StepInFlight> steps_;
  bool starved_ = true;  // there was room for a step and nothing to run
  bool quarantined_ = false;
  uint64_t host_ns_ = 0;  // worked, not waited, since the last step that ended

  std::atomic<uint32_t> in_flight_{0};
  std::atomic<uint64_t> last_progress_ns_{0};
  std::atomic<uint64_t> work_since_ns_{0};  // since when there has been an unfinished request
  mutable std::mutex statistics_mutex_;
  EngineStatistics statistics_;
  LogHistogram host_step_ns_;
  uint64_t host_total_ns_ = 0;
  uint64_t statistics_since_ns_ = 0;
  uint64_t busy_ns_ = 0;  // of the compute queue, as of the last publish()
  uint64_t busy_base_ns_ = 0;
  std::string failure_;  // the engine's thread died of it

  std::thread thread_;
};

}  // namespace krserve::engine
