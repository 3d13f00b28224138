// Drives an engine from a test: submits requests, collects chunks, waits with a limit.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "model/formats/safetensors.h"
#include "support/test_device.h"

namespace krserve::test {

inline std::filesystem::path golden_dir(const std::string& name) {
  return std::filesystem::path(KR_SOURCE_DIR) / "tests/golden/data" / name;
}

// "prompt0.input_ids", "prompt0.greedy_ids", ... of a golden model.
inline std::vector<int32_t> golden_ids(const std::string& model, const std::string& tensor) {
  const SafetensorsFile file(golden_dir(model) / "logits.safetensors");
  const TensorView* view = file.find(tensor);
  if (view == nullptr) throw std::runtime_error("no tensor " + tensor);
  std::vector<int32_t> ids(view->bytes / sizeof(int32_t));
  std::memcpy(ids.data(), view->data, view->bytes);
  return ids;
}

struct Collected {
  std::string text;
  std::vector<int32_t> tokens;
  engine::Chunk last;  // the one with `finish`
  uint32_t chunks = 0;
  uint32_t finishes = 0;
};

// One request's output. Shared with the engine's thread.
class Reply {
 public:
  void take(engine::Chunk&& chunk) {
    const std::lock_guard lock(mutex_);
    got_.text += chunk.text;
    got_.tokens.insert(got_.tokens.end(), chunk.tokens.begin(), chunk.tokens.end());
    ++got_.chunks;
    if (chunk.finish) {
      ++got_.finishes;
      got_.last = std::move(chunk);
    }
    changed_.notify_all();
  }

  // Throws after 60 seconds: a hang fails the test instead of blocking it.
  Collected wait() {
    wait_until([this] { return got_.finishes > 0; });
    const std::lock_guard lock(mutex_);
    return got_;
  }

  void wait_for_tokens(size_t count) {
    wait_until([this, count] { return got_.tokens.size() >= count || got_.finishes > 0; });
  }

 private:
  template <class Condition>
  void wait_until(Condition condition) {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, std::chrono::seconds(60), condition)) {
      throw std::runtime_error("no answer within 60 s");
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  Collected got_;
};

struct Submitted {
  engine::RequestId id = 0;
  std::shared_ptr<Reply> reply;

  Collected wait() const { return reply->wait(); }
};

inline Submitted submit(engine::Engine& engine, engine::Request request) {
  Submitted out;
  out.reply = std::make_shared<Reply>();
  out.id = engine.submit(std::move(request), [reply = out.reply](engine::Chunk&& chunk) {
    reply->take(std::move(chunk));
  });
  return out;
}

inline engine::Request greedy_request(std::vector<int32_t> prompt, uint32_t max_tokens) {
  engine::Request request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0;
  request.max_tokens = max_tokens;
  request.ignore_eos = true;
  return request;
}

// Small heaps, one worker's worth of everything; the three switches as given.
inline RuntimeConfig small_config(bool pool, bool blit, bool ring, int64_t ring_size = 3) {
  RuntimeConfig config;
  auto& m = config.metal_optimizations;
  m.enabled = true;
  m.graceful_fallback = false;
  m.memory_pool.enabled = pool;
  m.memory_pool.heap_size_mb = 32;
  m.memory_pool.num_heaps = 1;
  m.memory_pool.warmup_sizes = {};
  m.blit_queue.enabled = blit;
  m.blit_queue.staging_buffer_size_mb = 2;
  m.command_buffer_ring.enabled = ring;
  m.command_buffer_ring.ring_size = ring_size;
  config.engine.device = backend();
  config.engine.threads = 2;
  config.engine.parallel = 4;
  config.engine.prefill_chunk_tokens = 16;
  config.engine.ctx_size = 128;
  return config;
}

}  // namespace krserve::test
