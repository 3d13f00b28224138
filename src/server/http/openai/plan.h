// From a request body to what the engine is asked for: rendered, tokenized, checked against the
// model.
#pragma once

#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "server/http/openai/reply.h"

namespace krserve::server {

struct Plan {
  ReplyOptions reply;
  std::vector<engine::Request> sequences;  // one per choice
};

// Throws ApiError: 400 (fields, context_length_exceeded), 404 (model_not_found). Takes time that is
// linear in the prompt; not for an I/O thread.
Plan plan_chat(const engine::Engine& engine, std::string_view body);
Plan plan_completion(const engine::Engine& engine, std::string_view body);

// The error for a model name that is not the served one.
ApiError model_not_found(std::string_view name, std::string_view served);

}  // namespace krserve::server
