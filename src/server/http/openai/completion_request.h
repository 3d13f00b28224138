// The body of POST /v1/completions.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/http/openai/common_options.h"

namespace krserve::server {

using Prompt = std::variant<std::string, std::vector<int32_t>>;  // text or token ids

struct CompletionRequest {
  CommonOptions options;
  std::vector<Prompt> prompts;  // at least one
  bool echo = false;            // the prompt's text in front of the output
};

// OpenAI's default for this endpoint.
inline constexpr uint32_t kDefaultCompletionTokens = 16;
// prompts * n
inline constexpr size_t kMaxSequencesPerRequest = 64;

// Throws ApiError 400 that names the field.
CompletionRequest parse_completion_request(std::string_view body);

}  // namespace krserve::server
