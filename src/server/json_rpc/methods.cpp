#include "server/json_rpc/methods.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "config/nearest.h"

namespace krserve::server::rpc {
namespace {

using Name = std::string_view;

constexpr std::array<Name, 3> kLoadModel = {"model", "name", "config"};
constexpr std::array<Name, 2> kUnloadModel = {"model", "force"};
constexpr std::array<Name, 19> kGenerate = {"model",
                                            "prompt",
                                            "prompt_tokens",
                                            "messages",
                                            "chat_template_kwargs",
                                            "max_tokens",
                                            "temperature",
                                            "top_p",
                                            "top_k",
                                            "min_p",
                                            "repetition_penalty",
                                            "presence_penalty",
                                            "frequency_penalty",
                                            "seed",
                                            "stop",
                                            "stop_token_ids",
                                            "logit_bias",
                                            "ignore_eos",
                                            "stream"};
constexpr std::array<Name, 1> kCancel = {"request"};
constexpr std::array<Name, 5> kTokenize = {"model", "text", "messages", "chat_template_kwargs",
                                           "add_special_tokens"};
constexpr std::array<Name, 3> kDetokenize = {"model", "tokens", "skip_special_tokens"};
constexpr std::array<Name, 2> kGetStatistics = {"model", "reset"};
constexpr std::array<Name, 1> kGetConfig = {"path"};
constexpr std::array<Name, 1> kSetConfig = {"values"};
constexpr std::array<Name, 1> kShutdown = {"drain_timeout_s"};

constexpr std::array<Method, 12> kMethods = {{{"load_model", kLoadModel, load_model},
                                              {"unload_model", kUnloadModel, unload_model},
                                              {"list_models", {}, list_models},
                                              {"generate", kGenerate, generate},
                                              {"cancel", kCancel, cancel},
                                              {"tokenize", kTokenize, tokenize},
                                              {"detokenize", kDetokenize, detokenize},
                                              {"get_statistics", kGetStatistics, get_statistics},
                                              {"get_config", kGetConfig, get_config},
                                              {"set_config", kSetConfig, set_config},
                                              {"health", {}, health},
                                              {"shutdown", kShutdown, shutdown}}};

std::string hint(Name unknown, std::span<const Name> known, std::string_view plural) {
  const Name nearest = nearest_word(unknown, known);
  if (!nearest.empty()) return fmt::format("did you mean {}?", nearest);
  return known.empty() ? fmt::format("there are no {}", plural)
                       : fmt::format("the {} are {}", plural, fmt::join(known, ", "));
}

RpcError method_not_found(const std::string& name) {
  std::vector<Name> names;
  for (const Method& method : kMethods) names.push_back(method.name);
  return {ErrorCode::kMethodNotFound,
          fmt::format("there is no method '{}'; {}", name, hint(name, names, "methods")),
          {{"methods", names}}};
}

void check_names(const Method& method, const Json& params) {
  if (params.is_array()) {
    throw RpcError(ErrorCode::kInvalidParams,
                   fmt::format("params of {} go by name: send an object", method.name));
  }
  for (const auto& [name, value] : params.items()) {
    if (std::ranges::find(method.params, name) != method.params.end()) continue;
    throw invalid_param(name, fmt::format("{} has no parameter '{}'; {}", method.name, name,
                                          hint(name, method.params, "parameters")));
  }
}

}  // namespace

std::span<const Method> methods() {
  return kMethods;
}

void run_method(Session& session, const CallPtr& call) {
  const auto method = std::ranges::find(kMethods, call->method(), &Method::name);
  if (method == kMethods.end()) throw method_not_found(call->method());
  check_names(*method, call->params());
  method->run(session, call);
}

}  // namespace krserve::server::rpc
