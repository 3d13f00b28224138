// From a request body to what the engine is asked for: rendered, tokenized, checked against the
// model.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "server/openai/chat_request.h"
#include "server/openai/reply.h"

namespace krserve::server {

struct Plan {
  ReplyOptions reply;
  std::vector<engine::Request> sequences;  // one per choice
};

// Throws ApiError: 400 (fields, context_length_exceeded), 404 (model_not_found). Takes time that is
// linear in the prompt; not for an I/O thread.
Plan plan_chat(const engine::Engine& engine, std::string_view body);
Plan plan_completion(const engine::Engine& engine, std::string_view body);

// The steps of a plan, for other ways in. They throw ApiError 400 that names the field.
void check_biases(const engine::Engine& engine, std::span<const engine::LogitBias> biases);
// Ids within the vocabulary, and room for the output; max_tokens 0: for one token.
void check_prompt(const engine::Engine& engine, std::span<const int32_t> prompt,
                  uint32_t max_tokens, const char* param);
std::string render_chat(const engine::Engine& engine, const ChatRequest& request);

// The error for a model name that is not the served one.
ApiError model_not_found(std::string_view name, std::string_view served);

}  // namespace krserve::server
