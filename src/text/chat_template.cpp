#include "text/chat_template.h"

#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "text/files.h"
#include "text/krtext_handle.h"

namespace krserve {
namespace {

using nlohmann::json;

constexpr const char* kLoad = "chat_template.load";
constexpr const char* kRender = "chat_template.render";

// What transformers puts into the template's variables from tokenizer_config.json.
constexpr std::array kSpecialTokens = {"bos_token", "eos_token", "unk_token", "sep_token",
                                       "pad_token", "cls_token", "mask_token"};

json special_tokens(const json& config) {
  json variables = json::object();
  for (const char* key : kSpecialTokens) {
    const auto entry = config.find(key);
    if (entry == config.end()) {
      continue;
    }
    if (const auto text = text_files::token_text(*entry)) {
      variables[key] = *text;
    }
  }
  return variables;
}

// "chat_template": the source itself, or a list of {"name", "template"} of which "default" counts.
std::optional<std::string> template_in(const json& config, const std::filesystem::path& path) {
  const auto entry = config.find("chat_template");
  if (entry == config.end() || entry->is_null()) {
    return std::nullopt;
  }
  if (entry->is_string()) {
    return entry->get<std::string>();
  }
  if (entry->is_array()) {
    for (const auto& named : *entry) {
      if (named.is_object() && named.value("name", json()) == "default" &&
          named.contains("template") && named["template"].is_string()) {
        return named["template"].get<std::string>();
      }
    }
  }
  throw_error<TextError>(kLoad,
                         "{}: \"chat_template\" must be a string or a list of named templates with "
                         "one called \"default\"; save one as chat_template.jinja",
                         path.string());
}

// The options' kwargs over the model's special tokens.
std::string merge_variables(const std::string& variables_json, const std::string& kwargs_json) {
  if (kwargs_json.empty()) {
    return variables_json;
  }
  // Ordered: templates print maps in the order in which the client wrote them.
  using nlohmann::ordered_json;
  const auto kwargs = ordered_json::parse(kwargs_json, nullptr, false);
  if (!kwargs.is_object()) {
    throw_error<ChatInputError>(kRender, "the template variables must be a JSON object");
  }
  auto variables = ordered_json::parse(variables_json);
  variables.update(kwargs);
  // Bytes that are not UTF-8 cannot come this far: the parser refuses them.
  return variables.dump();
}

}  // namespace

ChatTemplate::ChatTemplate(krtext_template* handle, std::string name, std::string variables_json)
    : handle_(handle), name_(std::move(name)), variables_json_(std::move(variables_json)) {}

ChatTemplate::~ChatTemplate() {
  krtext_template_free(handle_);
}

std::shared_ptr<const ChatTemplate> ChatTemplate::load(const std::filesystem::path& model_dir) {
  const auto config_path = model_dir / "tokenizer_config.json";
  const json config = text_files::read_json(kLoad, config_path).value_or(json::object());
  auto path = model_dir / "chat_template.jinja";
  auto source = text_files::read(kLoad, path);
  if (!source) {
    path = model_dir / "chat_template.json";
    if (const auto file = text_files::read_json(kLoad, path)) {
      source = template_in(*file, path);
    }
  }
  if (!source) {
    path = config_path;
    source = template_in(config, path);
  }
  if (!source) {
    throw_error<MissingTemplateError>(
        kLoad,
        "{} has no chat template (chat_template.jinja, chat_template.json, or \"chat_template\" in "
        "tokenizer_config.json); add the model's chat_template.jinja, or use /v1/completions",
        model_dir.string());
  }
  return from_source(*source, config.dump(), path.string());
}

std::shared_ptr<const ChatTemplate> ChatTemplate::from_source(
    std::string_view source, std::string_view tokenizer_config_json, std::string_view name) {
  json config = json::object();
  if (!tokenizer_config_json.empty()) {
    config = json::parse(tokenizer_config_json, nullptr, false);
    if (!config.is_object()) {
      throw_error<TextError>(kLoad, "{}: tokenizer_config.json is not a JSON object", name);
    }
  }
  std::string variables = special_tokens(config).dump();
  krtext_template* handle = nullptr;
  KrtextText error;
  if (krtext_template_compile(source.data(), source.size(), &handle, error.out()) != KRTEXT_OK) {
    throw_error<TextError>(kLoad, "{}: the chat template cannot be compiled: {}", name,
                           error.view());
  }
  KrtextTemplatePtr owned(handle);
  std::shared_ptr<const ChatTemplate> result(
      new ChatTemplate(handle, std::string(name), std::move(variables)));
  static_cast<void>(owned.release());
  return result;
}

std::string ChatTemplate::render(std::string_view messages_json,
                                 const RenderOptions& options) const {
  const std::string kwargs = merge_variables(variables_json_, options.kwargs_json);
  krtext_render_input input{};
  input.messages = messages_json.data();
  input.messages_bytes = messages_json.size();
  input.tools = options.tools_json.empty() ? nullptr : options.tools_json.data();
  input.tools_bytes = options.tools_json.size();
  input.kwargs = kwargs.data();
  input.kwargs_bytes = kwargs.size();
  input.add_generation_prompt = options.add_generation_prompt;
  KrtextText text;
  KrtextText error;
  switch (krtext_template_render(handle_, &input, text.out(), error.out())) {
    case KRTEXT_OK:
      return text.str();
    case KRTEXT_INVALID_ARGUMENT:
    case KRTEXT_PARSE:
      throw_error<ChatInputError>(kRender, "{}", error.view());
    case KRTEXT_RAISED:
      throw_error<ChatInputError>(kRender, "the model's chat template refused the conversation: {}",
                                  error.view());
    default:
      throw_error<TextError>(kRender, "{}: the chat template failed: {}", name_, error.view());
  }
}

}  // namespace krserve
