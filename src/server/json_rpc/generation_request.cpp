#include "server/json_rpc/generation_request.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <initializer_list>
#include <string>
#include <string_view>

#include "server/openai/chat_request.h"
#include "server/openai/common_options.h"
#include "server/openai/completion_request.h"
#include "server/openai/fields.h"
#include "server/openai/plan.h"
#include "text/tokenizer.h"

namespace krserve::server::rpc {
namespace {

constexpr std::array<std::string_view, 4> kPromptFields = {"prompt", "prompt_tokens", "messages",
                                                           "chat_template_kwargs"};

// The one of `names` that was given.
std::string_view exactly_one(const Fields& fields, std::initializer_list<std::string_view> names) {
  std::string_view given;
  size_t count = 0;
  for (const std::string_view name : names) {
    if (fields.get(name) == nullptr) continue;
    given = name;
    ++count;
  }
  if (count == 1) return given;
  throw invalid_param(std::string(*names.begin()),
                      fmt::format("give exactly one of {}; {} are there",
                                  fmt::join(names.begin(), names.end(), ", "), count));
}

std::vector<int32_t> chat_tokens(const engine::Engine& engine, const Json& params,
                                 bool add_special_tokens) {
  Json chat = {{"messages", params.at("messages")}};
  const auto kwargs = params.find("chat_template_kwargs");
  if (kwargs != params.end()) chat["chat_template_kwargs"] = *kwargs;
  try {
    return engine.tokenizer().encode(render_chat(engine, read_chat_request(chat)),
                                     add_special_tokens);
  } catch (const ApiError& error) {
    if (error.code() != "no_chat_template") throw;
    throw invalid_param("messages", "this model has no chat template; send a prompt");
  }
}

void refuse_kwargs_without_messages(const Fields& fields, std::string_view given) {
  if (given == "messages" || fields.get("chat_template_kwargs") == nullptr) return;
  throw invalid_param("chat_template_kwargs",
                      fmt::format("it belongs to messages; {} takes no template", given));
}

std::vector<int32_t> prompt_tokens(const engine::Engine& engine, const Fields& fields,
                                   const Json& params, std::string_view given) {
  if (given == "messages") return chat_tokens(engine, params, false);
  if (given == "prompt") return engine.tokenizer().encode(*fields.string("prompt"), true);
  return parse_token_ids(*fields.array("prompt_tokens"), "prompt_tokens");
}

}  // namespace

GenerationRequest plan_generation(const engine::Engine& engine, const Json& params) {
  const CommonOptions options = parse_common_options(params, kPromptFields);
  const Fields fields(params);
  const std::string_view given = exactly_one(fields, {"prompt", "prompt_tokens", "messages"});
  refuse_kwargs_without_messages(fields, given);
  GenerationRequest plan{.request = options.sequence,
                         .stream = fields.boolean("stream").value_or(true)};
  check_biases(engine, plan.request.sampling.logit_bias);
  plan.request.prompt = prompt_tokens(engine, fields, params, given);
  check_prompt(engine, plan.request.prompt, plan.request.max_tokens, std::string(given).c_str());
  return plan;
}

std::vector<int32_t> plan_tokens(const engine::Engine& engine, const Json& params) {
  const Fields fields(params);
  const std::string_view given = exactly_one(fields, {"text", "messages"});
  refuse_kwargs_without_messages(fields, given);
  const bool add_special_tokens = fields.boolean("add_special_tokens").value_or(given == "text");
  if (given == "messages") return chat_tokens(engine, params, add_special_tokens);
  return engine.tokenizer().encode(*fields.string("text"), add_special_tokens);
}

}  // namespace krserve::server::rpc
