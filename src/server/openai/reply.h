// Turns the chunks of a request's sequences into OpenAI's answer: stream events or one JSON object.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/request.h"
#include "server/openai/api_error.h"

namespace krserve::server {

enum class ReplyKind { kChat, kCompletion };

struct ReplyOptions {
  ReplyKind kind = ReplyKind::kChat;
  std::string model;
  bool stream = false;
  bool include_usage = false;
  uint32_t choices_per_prompt = 1;
  // One per choice: text in front of the output ("echo"); all empty for chat.
  std::vector<std::string> prefixes;
};

// Not thread-safe. Choice i belongs to prompt i / choices_per_prompt.
class Reply {
 public:
  explicit Reply(ReplyOptions options);

  // `choice` has not finished yet. A chunk with an error makes error() set and the reply finished.
  void add(size_t choice, engine::Chunk&& chunk);
  // Ends the reply with an error of the server's own (time limit, for example).
  void fail(ApiError error);

  bool finished() const { return error_.has_value() || unfinished_ == 0; }
  const std::optional<ApiError>& error() const { return error_; }

  // Streaming: the events that are due since the last call, "data: ...\n\n" each; the end of a
  // finished reply included. A failed one ends with an error event.
  std::string take_events();
  // Not streaming, finished without an error: the response body.
  std::string body() const;

  uint32_t prompt_tokens() const;
  uint32_t completion_tokens() const;

 private:
  struct Choice {
    std::string text;
    bool role_sent = false;
    std::optional<engine::FinishReason> finish;
    uint32_t prompt_tokens = 0;
    uint32_t completion_tokens = 0;
    uint32_t cached_tokens = 0;
  };

  void stream_chunk(size_t index, std::string_view text, bool finished);
  void append_event(size_t index, std::string_view delta, std::string_view finish_reason);
  void append_end();
  std::string usage_json() const;

  ReplyOptions options_;
  std::vector<Choice> choices_;
  std::string id_;
  int64_t created_unix_s_;
  std::string event_head_;  // up to the choices
  std::string events_;
  size_t unfinished_;
  std::optional<ApiError> error_;
};

// {"id":...,"object":"model",...} and the list of it, for GET /v1/models.
struct ModelCard {
  std::string id;
  int64_t created_unix_s = 0;
  uint32_t context_length = 0;
};
std::string model_json(const ModelCard& card);
std::string model_list_json(const ModelCard& card);

}  // namespace krserve::server
