#include "server/openai/chat_request.h"

#include <algorithm>
#include <array>

#include "server/openai/fields.h"
#include "server/openai/json_body.h"

namespace krserve::server {
namespace {

using Json = nlohmann::json;

constexpr std::array<std::string_view, 15> kChatFields = {"messages",
                                                          "max_completion_tokens",
                                                          "chat_template_kwargs",
                                                          "tools",
                                                          "tool_choice",
                                                          "functions",
                                                          "function_call",
                                                          "response_format",
                                                          "top_logprobs",
                                                          "modalities",
                                                          "audio",
                                                          "prediction",
                                                          "reasoning_effort",
                                                          "verbosity",
                                                          "web_search_options"};
constexpr std::array<std::string_view, 5> kRoles = {"system", "developer", "user", "assistant",
                                                    "tool"};

std::string text_part(const Json& part, const std::string& path) {
  if (!part.is_object()) throw wrong_type(path, "an object", part);
  const Fields fields(part, path + ".");
  const Json& type = fields.require("type");
  if (!type.is_string()) throw wrong_type(fields.path_of("type"), "a string", type);
  if (type != "text") {
    throw unsupported(fields.path_of("type"),
                      fmt::format("content of type {} is not supported; only 'text' is.",
                                  type.dump(-1, ' ', false, Json::error_handler_t::replace)));
  }
  fields.require("text");
  return *fields.string("text");
}

// Parts are joined by line ends, as other servers do for templates that want a string.
std::string content_text(const Json& content, const std::string& path) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) throw wrong_type(path, "a string or an array of parts", content);
  std::string text;
  for (size_t i = 0; i < content.size(); ++i) {
    if (i > 0) text += '\n';
    text += text_part(content[i], fmt::format("{}[{}]", path, i));
  }
  return text;
}

Json normalized_message(const Json& message, size_t index) {
  const std::string path = fmt::format("messages[{}]", index);
  if (!message.is_object()) throw wrong_type(path, "an object", message);
  const Fields fields(message, path + ".");
  fields.require("role");
  std::string role = *fields.string("role");
  if (std::find(kRoles.begin(), kRoles.end(), role) == kRoles.end()) {
    throw invalid_value(fields.path_of("role"),
                        "expected one of system, developer, user, assistant, tool.");
  }
  const Json* tool_calls = fields.array("tool_calls");
  const bool may_lack_content = role == "assistant" && tool_calls != nullptr;
  const Json* content = may_lack_content ? fields.get("content") : &fields.require("content");
  Json normalized = {{"role", role == "developer" ? "system" : role}};
  normalized["content"] =
      content == nullptr ? std::string() : content_text(*content, fields.path_of("content"));
  if (tool_calls != nullptr) normalized["tool_calls"] = *tool_calls;
  for (const char* name : {"name", "tool_call_id"}) {
    if (const auto text = fields.string(name)) normalized[name] = *text;
  }
  return normalized;
}

std::string parse_messages(const Fields& fields) {
  fields.require("messages");
  const Json& messages = *fields.array("messages");
  if (messages.empty()) throw invalid_value("messages", "at least one message is needed.");
  Json normalized = Json::array();
  for (size_t i = 0; i < messages.size(); ++i) {
    normalized.push_back(normalized_message(messages[i], i));
  }
  return normalized.dump();
}

void refuse_tools(const Fields& fields) {
  const Json* tools = fields.array("tools");
  const Json* choice = fields.get("tool_choice");
  const bool no_call = choice != nullptr && *choice == "none";
  const bool has_tools = tools != nullptr && !tools->empty();
  if (choice != nullptr && !no_call && (has_tools || *choice != "auto")) {
    throw unsupported("tool_choice", "this server does not call tools; use 'none'.");
  }
  if (has_tools && !no_call) {
    throw unsupported("tools",
                      "this server does not call tools; leave it out or set tool_choice "
                      "to 'none'.");
  }
  const Json* call = fields.get("function_call");
  if (call != nullptr && *call != "none") {
    throw unsupported("function_call", "this server does not call functions.");
  }
  const Json* functions = fields.array("functions");
  if (functions != nullptr && !functions->empty() && call == nullptr) {
    throw unsupported("functions", "this server does not call functions.");
  }
}

void refuse_unsupported_output(const Fields& fields) {
  if (const Json* format = fields.object("response_format")) {
    const Json& type = Fields(*format, "response_format.").require("type");
    if (type != "text") {
      throw unsupported("response_format", "only {\"type\": \"text\"} is supported.");
    }
  }
  if (fields.integer("top_logprobs", 0, 20).value_or(0) > 0) {
    throw unsupported("top_logprobs", "this server does not return log probabilities.");
  }
  const Json* modalities = fields.array("modalities");
  if (modalities != nullptr && *modalities != Json::array({"text"})) {
    throw unsupported("modalities", "only [\"text\"] is supported.");
  }
  for (const char* name :
       {"audio", "prediction", "reasoning_effort", "verbosity", "web_search_options"}) {
    if (fields.get(name) != nullptr) throw unsupported(name, "leave it out.");
  }
}

// The newer name wins; both with different values is a contradiction.
uint32_t parse_max_tokens(const Fields& fields) {
  const auto old_name = fields.integer("max_tokens", 1, INT32_MAX);
  const auto new_name = fields.integer("max_completion_tokens", 1, INT32_MAX);
  if (old_name && new_name && *old_name != *new_name) {
    throw invalid_value("max_completion_tokens", "it contradicts 'max_tokens'; send one of them.");
  }
  return static_cast<uint32_t>(new_name ? *new_name : old_name.value_or(0));
}

}  // namespace

ChatRequest parse_chat_request(std::string_view body) {
  return read_chat_request(parse_json_object(body));
}

ChatRequest read_chat_request(const Json& object) {
  const Fields fields(object);
  ChatRequest request;
  request.options = parse_common_options(object, kChatFields);
  request.options.sequence.max_tokens = parse_max_tokens(fields);
  refuse_tools(fields);
  refuse_unsupported_output(fields);
  request.messages_json = parse_messages(fields);
  if (const Json* kwargs = fields.object("chat_template_kwargs")) {
    request.template_kwargs_json = kwargs->dump();
  }
  return request;
}

}  // namespace krserve::server
