// What a caller asks of the engine and what comes back: requests, sampling values, chunks of
// output.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace krserve::engine {

// Added to a token's logit before everything else that changes logits; counts for greedy too.
struct LogitBias {
  int32_t token;
  float bias;  // [-100, 100]
};

// Most entries of one request's logit_bias.
inline constexpr uint32_t kMaxLogitBiases = 1024;

struct SamplingParams {
  float temperature = 1.0F;           // 0 = greedy; otherwise (0, 2]
  uint32_t top_k = 0;                 // 0 = off
  float top_p = 1.0F;                 // (0, 1]
  float min_p = 0.0F;                 // [0, 1)
  float repetition_penalty = 1.0F;    // (0, 2]; 1 = off
  float presence_penalty = 0.0F;      // [-2, 2]
  float frequency_penalty = 0.0F;     // [-2, 2]
  std::optional<uint64_t> seed;       // none = drawn per request
  std::vector<LogitBias> logit_bias;  // at most kMaxLogitBiases, no token twice

  bool greedy() const { return temperature == 0.0F; }
  bool uses_penalties() const {
    return repetition_penalty != 1.0F || presence_penalty != 0.0F || frequency_penalty != 0.0F;
  }
  // Throws RequestError that names the field, its value and the range (NaN is refused too). Knows
  // no vocabulary: that a bias's token is in it is for the engine to check.
  void validate() const;
};

struct Request {
  std::vector<int32_t> prompt;  // token ids, at least one
  SamplingParams sampling;
  uint32_t max_tokens = 0;        // 0 = up to the context's end
  std::vector<std::string> stop;  // stop strings; not part of the output
  std::vector<int32_t> stop_token_ids;
  bool ignore_eos = false;
};

enum class FinishReason { kStop, kLength, kCancelled, kError };

// OpenAI's word for it: "stop", "length", "cancelled", "error".
const char* to_string(FinishReason reason);

// Host-clock durations of one request so far, in nanoseconds.
struct RequestTimes {
  uint64_t queue_ns = 0;    // submit to first scheduled
  uint64_t prefill_ns = 0;  // first scheduled to first token
  uint64_t decode_ns = 0;   // first token to last
  uint64_t ttft_ns = 0;     // submit to first token
  uint64_t total_ns = 0;    // submit to finish
};

// Why a request failed, with FinishReason::kError.
enum class ErrorKind { kNone, kDevice, kTimeout, kOutOfMemory, kOther };

// A piece of output. The last one has `finish`. Text and tokens may be empty then.
struct Chunk {
  std::string text;             // complete UTF-8; special tokens left out
  std::vector<int32_t> tokens;  // ids sampled since the last chunk
  std::optional<FinishReason> finish;
  std::string error;  // with FinishReason::kError: message for the client
  ErrorKind error_kind = ErrorKind::kNone;
  uint32_t prompt_tokens = 0;
  uint32_t completion_tokens = 0;
  uint32_t cached_tokens = 0;  // prompt tokens whose KV was reused
  RequestTimes times;          // complete in the last chunk
};

// Called on the engine's thread, in order, never after the chunk with `finish`. Must return
// quickly, must not throw and must not call the engine.
using ChunkSink = std::function<void(Chunk&&)>;

using RequestId = uint64_t;

}  // namespace krserve::engine
