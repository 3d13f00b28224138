// The body of POST /v1/chat/completions.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "server/openai/common_options.h"

namespace krserve::server {

struct ChatRequest {
  CommonOptions options;
  // JSON array as chat templates want it: every content a string, "developer" turned into "system".
  std::string messages_json;
  std::string template_kwargs_json;  // JSON object, or empty
};

// Throws ApiError 400 that names the field.
ChatRequest parse_chat_request(std::string_view body);
// The same once it is parsed.
ChatRequest read_chat_request(const nlohmann::json& object);

}  // namespace krserve::server
