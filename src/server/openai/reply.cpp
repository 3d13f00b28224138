#include "server/openai/reply.h"

#include <chrono>
#include <nlohmann/json.hpp>

#include "server/openai/random_id.h"
#include "server/openai/sse.h"
#include "server/version.h"

namespace krserve::server {
namespace {

using Json = nlohmann::ordered_json;

std::string dump(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string json_string(std::string_view text) {
  return dump(Json(text));
}

int64_t unix_now_s() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(now).count();
}

const char* object_name(ReplyKind kind, bool stream) {
  if (kind == ReplyKind::kCompletion) return "text_completion";
  return stream ? "chat.completion.chunk" : "chat.completion";
}

ApiError chunk_error(const engine::Chunk& chunk) {
  if (*chunk.finish == engine::FinishReason::kCancelled) {
    return ApiError(503, "The server ended this request before it was complete.", {}, "cancelled");
  }
  return ApiError(500, chunk.error.empty() ? "The sequence failed." : chunk.error, {},
                  "generation_failed");
}

bool is_failure(engine::FinishReason reason) {
  return reason == engine::FinishReason::kError || reason == engine::FinishReason::kCancelled;
}

}  // namespace

Reply::Reply(ReplyOptions options)
    : options_(std::move(options)),
      choices_(options_.prefixes.size()),
      id_((options_.kind == ReplyKind::kChat ? "chatcmpl-" : "cmpl-") + random_hex(12)),
      created_unix_s_(unix_now_s()),
      unfinished_(choices_.size()) {
  event_head_ = fmt::format(
      R"({{"id":"{}","object":"{}","created":{},"model":{},"system_fingerprint":"{}","choices":[)",
      id_, object_name(options_.kind, options_.stream), created_unix_s_,
      json_string(options_.model), kSystemFingerprint);
}

void Reply::add(size_t choice, engine::Chunk&& chunk) {
  if (error_) return;
  if (chunk.finish && is_failure(*chunk.finish)) return fail(chunk_error(chunk));
  Choice& state = choices_.at(choice);
  state.prompt_tokens = chunk.prompt_tokens;
  state.completion_tokens = chunk.completion_tokens;
  state.cached_tokens = chunk.cached_tokens;
  state.finish = chunk.finish;
  if (chunk.finish) --unfinished_;
  if (!options_.stream) {
    state.text += chunk.text;
    return;
  }
  stream_chunk(choice, chunk.text, chunk.finish.has_value());
  if (unfinished_ == 0) append_end();
}

void Reply::fail(ApiError error) {
  if (finished()) return;
  error_ = std::move(error);
  if (options_.stream) events_ += sse_event(error_->body());
}

std::string Reply::take_events() {
  return std::exchange(events_, {});
}

void Reply::stream_chunk(size_t index, std::string_view text, bool finished) {
  Choice& choice = choices_[index];
  const bool chat = options_.kind == ReplyKind::kChat;
  const std::string reason =
      finished ? json_string(engine::to_string(*choice.finish)) : std::string("null");
  const bool first = !choice.role_sent;
  choice.role_sent = true;
  if (chat) {
    if (first) append_event(index, R"("delta":{"role":"assistant","content":""})", "null");
    if (!text.empty())
      append_event(index, R"("delta":{"content":)" + json_string(text) + "}", "null");
    if (finished) append_event(index, R"("delta":{})", reason);
    return;
  }
  const std::string prefix = first ? options_.prefixes[index] : std::string();
  if (prefix.empty() && text.empty() && !finished) return;
  append_event(index, R"("text":)" + json_string(prefix + std::string(text)), reason);
}

void Reply::append_event(size_t index, std::string_view delta, std::string_view finish_reason) {
  events_ += fmt::format(R"(data: {}{{"index":{},{},"logprobs":null,"finish_reason":{}}}])",
                         event_head_, index, delta, finish_reason);
  if (options_.include_usage) events_ += R"(,"usage":null)";
  events_ += "}\n\n";
}

void Reply::append_end() {
  if (options_.include_usage) {
    events_ += sse_event(event_head_ + R"(],"usage":)" + usage_json() + "}");
  }
  events_ += kSseDone;
}

uint32_t Reply::prompt_tokens() const {
  uint32_t tokens = 0;
  for (size_t i = 0; i < choices_.size(); i += options_.choices_per_prompt) {
    tokens += choices_[i].prompt_tokens;
  }
  return tokens;
}

uint32_t Reply::completion_tokens() const {
  uint32_t tokens = 0;
  for (const Choice& choice : choices_) tokens += choice.completion_tokens;
  return tokens;
}

std::string Reply::usage_json() const {
  uint32_t cached = 0;
  for (size_t i = 0; i < choices_.size(); i += options_.choices_per_prompt) {
    cached += choices_[i].cached_tokens;
  }
  return fmt::format(R"({{"prompt_tokens":{},"completion_tokens":{},"total_tokens":{},)"
                     R"("prompt_tokens_details":{{"cached_tokens":{}}}}})",
                     prompt_tokens(), completion_tokens(), prompt_tokens() + completion_tokens(),
                     cached);
}

std::string Reply::body() const {
  std::string body = event_head_;
  for (size_t i = 0; i < choices_.size(); ++i) {
    const Choice& choice = choices_[i];
    const std::string text = json_string(options_.prefixes[i] + choice.text);
    const std::string content =
        options_.kind == ReplyKind::kChat
            ? R"("message":{"role":"assistant","content":)" + text + R"(,"refusal":null})"
            : R"("text":)" + text;
    body += fmt::format(R"({}{{"index":{},{},"logprobs":null,"finish_reason":"{}"}})",
                        i == 0 ? "" : ",", i, content, engine::to_string(*choice.finish));
  }
  return body + R"(],"usage":)" + usage_json() + "}";
}

std::string model_json(const ModelCard& card) {
  return dump(Json{{"id", card.id},
                   {"object", "model"},
                   {"created", card.created_unix_s},
                   {"owned_by", "krserve"},
                   {"max_model_len", card.context_length}});
}

std::string model_list_json(const ModelCard& card) {
  return R"({"object":"list","data":[)" + model_json(card) + "]}";
}

}  // namespace krserve::server
