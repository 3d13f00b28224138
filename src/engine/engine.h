// The engine: one model on one device, requests in, chunks of text out.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "config/runtime_config.h"
#include "engine/request.h"
#include "engine/statistics.h"

namespace krserve {
class Tokenizer;
class ChatTemplate;
class Device;
}  // namespace krserve

namespace krserve::runtime {
class TraceRecorder;
}

namespace krserve::engine {

struct ModelInfo {
  std::string name;             // model_name of its directory, or server.model_name
  std::string architecture;     // "qwen2", "qwen3", "llama"
  uint32_t context_length = 0;  // tokens, prompt and output together
  uint32_t vocab_size = 0;
  uint64_t weight_bytes = 0;
  uint64_t bytes_per_token = 0;     // weight bytes one decode step reads
  uint64_t kv_bytes_per_token = 0;  // KV bytes of one token of context
  uint64_t kv_cache_bytes = 0;
  uint64_t load_bytes = 0;  // of the checkpoint, brought to the device or mapped
  uint64_t load_ns = 0;     // how long that took
  int64_t created_unix_s = 0;
  std::string device;       // "cpu", "cuda", "metal"
  std::string device_name;  // "AMD EPYC (2 workers, avx512)"
};

enum class Health { kLoading, kReady, kDraining, kStalled, kFailed };

class Engine {
 public:
  // 0..1, called on the loading thread.
  using Progress = std::function<void(double fraction, const std::string& what)>;

  // Loads the model and starts the engine's thread. Throws ModelError, OutOfMemoryError,
  // DeviceError, ConfigError. `device` replaces the configured one (tests). `trace` records what
  // device and engine do until the engine is gone.
  static std::unique_ptr<Engine> create(const RuntimeConfig& config,
                                        const std::filesystem::path& model_dir,
                                        const Progress& progress = {},
                                        std::shared_ptr<Device> device = nullptr,
                                        std::shared_ptr<runtime::TraceRecorder> trace = nullptr);
  virtual ~Engine() = default;

  // Queues a request. Throws RequestError (empty prompt, prompt as long as the context or longer,
  // token id outside the vocabulary, sampling values) or OverloadError (queue full, draining).
  // max_tokens beyond the context's end is cut to it.
  virtual RequestId submit(Request request, ChunkSink sink) = 0;
  // The sink gets a last chunk with kCancelled unless it already had its last one. Any thread.
  virtual void cancel(RequestId id) = 0;

  virtual Health health() const = 0;
  // Why health() is kStalled or kFailed, with the state of ring, pool and blit queue.
  virtual std::string health_detail() const = 0;
  virtual const ModelInfo& model() const = 0;
  // Throws TextError in a build without one (KRSERVE_CRATES=OFF); output is token ids alone then.
  virtual const Tokenizer& tokenizer() const = 0;
  // Throws TextError if the model has none.
  virtual const ChatTemplate& chat_template() const = 0;
  virtual EngineStatistics statistics() const = 0;
  virtual void reset_statistics() = 0;

  // No new requests; returns when the running ones are done or the time is over (then false, and
  // the rest are cancelled).
  virtual bool drain(uint64_t timeout_ns) = 0;
};

}  // namespace krserve::engine
