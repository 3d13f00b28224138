#include "server/openai/completion_request.h"

#include <array>

#include "server/openai/fields.h"
#include "server/openai/json_body.h"

namespace krserve::server {
namespace {

using Json = nlohmann::json;

constexpr std::array<std::string_view, 4> kCompletionFields = {"prompt", "echo", "suffix",
                                                               "best_of"};

std::vector<Prompt> parse_prompts(const Fields& fields) {
  constexpr std::string_view kExpected =
      "a string, an array of strings, an array of token ids or an array of those";
  const Json& value = fields.require("prompt");
  if (value.is_string()) return {value.get<std::string>()};
  if (!value.is_array()) throw wrong_type("prompt", kExpected, value);
  if (value.empty()) throw invalid_value("prompt", "it must not be empty.");
  if (value.front().is_number()) return {parse_token_ids(value, "prompt")};
  std::vector<Prompt> prompts;
  const bool of_strings = value.front().is_string();
  for (size_t i = 0; i < value.size(); ++i) {
    const Json& prompt = value[i];
    const std::string param = fmt::format("prompt[{}]", i);
    const bool same_kind = of_strings ? prompt.is_string() : prompt.is_array();
    if (!same_kind) throw wrong_type(param, kExpected, prompt);
    if (of_strings) {
      prompts.emplace_back(prompt.get<std::string>());
    } else {
      if (prompt.empty()) throw invalid_value(param, "it must not be empty.");
      prompts.emplace_back(parse_token_ids(prompt, param));
    }
  }
  return prompts;
}

void refuse_unsupported(const Fields& fields, uint32_t choices) {
  if (!fields.string("suffix").value_or("").empty()) {
    throw unsupported("suffix", "this server does not fill in the middle; leave it out.");
  }
  const auto best_of = fields.integer("best_of", 1, 20);
  if (best_of && *best_of != choices) {
    throw unsupported("best_of", "this server does not rank candidates; leave it out.");
  }
}

}  // namespace

std::vector<int32_t> parse_token_ids(const Json& list, const std::string& param) {
  std::vector<int32_t> ids;
  ids.reserve(list.size());
  for (const Json& id : list) {
    if (!id.is_number_integer()) throw wrong_type(param, "integers as token ids", id);
    const bool in_range = id >= 0 && id <= INT32_MAX;
    if (!in_range) throw invalid_value(param, fmt::format("{} is not a token id.", id.dump()));
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

CompletionRequest parse_completion_request(std::string_view body) {
  const Json object = parse_json_object(body);
  const Fields fields(object);
  CompletionRequest request;
  request.options = parse_common_options(object, kCompletionFields);
  uint32_t& max_tokens = request.options.sequence.max_tokens;
  if (max_tokens == 0) max_tokens = kDefaultCompletionTokens;
  refuse_unsupported(fields, request.options.choices);
  request.echo = fields.boolean("echo").value_or(false);
  request.prompts = parse_prompts(fields);
  const size_t sequences = request.prompts.size() * request.options.choices;
  if (sequences > kMaxSequencesPerRequest) {
    throw invalid_value(
        "prompt",
        fmt::format("{} prompts with n = {} make {} sequences; at most {}.", request.prompts.size(),
                    request.options.choices, sequences, kMaxSequencesPerRequest));
  }
  return request;
}

}  // namespace krserve::server
