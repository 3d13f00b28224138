// An engine without a model: tests decide what each sequence says and see what was asked and
// cancelled.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/error.h"
#include "engine/engine.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace krserve::test {

using engine::Chunk;
using engine::ChunkSink;
using engine::FinishReason;
using engine::Health;
using engine::RequestId;

inline constexpr auto kPatience = std::chrono::seconds(20);  // a hang fails, it does not block

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// Sinks run on its own thread, as with the real one.
class FakeEngine : public engine::Engine {
 public:
  // What a sequence says by itself; empty: tests call say() and finish().
  std::vector<std::string> pieces;
  bool queue_full = false;
  bool has_template = true;
  std::string submit_failure;  // not empty: submit throws std::runtime_error

  FakeEngine() {
    const std::filesystem::path dir = std::filesystem::path(KR_SOURCE_DIR) / "models/tiny";
    static const auto tokenizer =
        Tokenizer::from_json(read_file(dir / "tokenizer.json"), "", "tokenizer.json");
    static const auto chat_template = ChatTemplate::from_source(
        "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools') }}"
        "{% endif %}<{{ m.role }}>{{ m.content }}{% endfor %}<assistant>",
        "", "template");
    tokenizer_ = tokenizer;
    template_ = chat_template;
    model_.name = "fake";
    model_.context_length = 64;
    model_.vocab_size = static_cast<uint32_t>(tokenizer->vocab_size());
    model_.created_unix_s = 1234;
    thread_ = std::thread([this] { run(); });
  }

  ~FakeEngine() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
      changed_.notify_all();
    }
    thread_.join();
  }

  RequestId submit(engine::Request request, ChunkSink sink) override {
    const std::lock_guard lock(mutex_);
    if (!submit_failure.empty()) throw std::runtime_error(submit_failure);
    if (queue_full) throw OverloadError("engine.submit", "256 requests wait already");
    const RequestId id = ++last_id_;
    requests_[id] = std::move(request);
    sinks_[id] = std::move(sink);
    changed_.notify_all();
    if (pieces.empty()) return id;
    for (const std::string& piece : pieces) post_say(id, piece);
    post_finish(id, FinishReason::kStop, {});
    return id;
  }

  void cancel(RequestId id) override {
    const std::lock_guard lock(mutex_);
    if (!sinks_.contains(id)) return;
    cancelled_.insert(id);
    post_finish(id, FinishReason::kCancelled, {});
    changed_.notify_all();
  }

  void say(RequestId id, const std::string& text) {
    const std::lock_guard lock(mutex_);
    post_say(id, text);
  }
  void finish(RequestId id, FinishReason reason = FinishReason::kStop, std::string error = {}) {
    const std::lock_guard lock(mutex_);
    post_finish(id, reason, std::move(error));
  }

  // False after kPatience.
  bool wait_submitted(size_t count) {
    return wait([&] { return requests_.size() >= count; });
  }
  bool wait_cancelled(RequestId id) {
    return wait([&] { return cancelled_.contains(id); });
  }
  engine::Request request(RequestId id) {
    const std::lock_guard lock(mutex_);
    return requests_.at(id);
  }
  size_t submitted() {
    const std::lock_guard lock(mutex_);
    return requests_.size();
  }
  size_t cancelled() {
    const std::lock_guard lock(mutex_);
    return cancelled_.size();
  }

  void set_health(Health health) { health_ = health; }
  Health health() const override { return health_; }
  std::string health_detail() const override { return "ring: 3 of 3 slots in flight"; }
  const engine::ModelInfo& model() const override { return model_; }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }
  const ChatTemplate& chat_template() const override {
    if (!has_template) throw TextError("engine.chat_template", "the model has none");
    return *template_;
  }
  engine::EngineStatistics statistics() const override { return engine::EngineStatistics(); }
  void reset_statistics() override {}
  bool drain(uint64_t) override { return true; }

 private:
  template <class Condition>
  bool wait(Condition condition) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, kPatience, condition);
  }

  void post_say(RequestId id, const std::string& text) {
    actions_.emplace_back([this, id, text] { give(id, text, std::nullopt, {}); });
    changed_.notify_all();
  }
  void post_finish(RequestId id, FinishReason reason, std::string error) {
    actions_.emplace_back(
        [this, id, reason, error = std::move(error)] { give(id, {}, reason, error); });
    changed_.notify_all();
  }

  // On the engine's thread.
  void give(RequestId id, const std::string& text, std::optional<FinishReason> finish,
            const std::string& error) {
    ChunkSink sink;
    Chunk chunk;
    {
      const std::lock_guard lock(mutex_);
      const auto found = sinks_.find(id);
      if (found == sinks_.end()) return;
      sink = found->second;
      if (finish) sinks_.erase(found);
      if (!text.empty()) ++tokens_[id];
      chunk.prompt_tokens = static_cast<uint32_t>(requests_[id].prompt.size());
      chunk.completion_tokens = tokens_[id];
    }
    chunk.text = text;
    chunk.finish = finish;
    chunk.error = error;
    chunk.cached_tokens = 2;
    sink(std::move(chunk));
  }

  void run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return stop_ || !actions_.empty(); });
      if (stop_) return;
      const std::function<void()> action = std::move(actions_.front());
      actions_.pop_front();
      lock.unlock();
      action();
      lock.lock();
    }
  }

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::shared_ptr<const ChatTemplate> template_;
  engine::ModelInfo model_;
  std::atomic<Health> health_{Health::kReady};
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> actions_;
  std::map<RequestId, engine::Request> requests_;
  std::map<RequestId, ChunkSink> sinks_;
  std::map<RequestId, uint32_t> tokens_;
  std::set<RequestId> cancelled_;
  RequestId last_id_ = 0;
  bool stop_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace krserve::test
