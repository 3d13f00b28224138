// The body of POST /v1/completions.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/openai/common_options.h"

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

// An array of token ids; throws ApiError 400 that names `param`.
std::vector<int32_t> parse_token_ids(const nlohmann::json& list, const std::string& param);

}  // namespace krserve::server
