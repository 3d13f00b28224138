// A model's chat template: messages to the prompt text, as transformers' apply_chat_template does.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

struct krtext_template;

namespace krserve {

struct RenderOptions {
  // JSON array of tool descriptions in OpenAI's form; empty means none.
  std::string tools_json;
  // JSON object of further template variables (enable_thinking, date_string ...); empty means none.
  // They win over the model's special tokens; messages, tools and add_generation_prompt are
  // refused.
  std::string kwargs_json;
  // Ends the prompt with the beginning of the assistant's turn.
  bool add_generation_prompt = true;
};

// Immutable after load and safe from any thread.
class ChatTemplate {
 public:
  // From chat_template.jinja, else chat_template.json, else "chat_template" in
  // tokenizer_config.json (of several named ones: "default"). bos_token and the other special
  // tokens in tokenizer_config.json become template variables. Throws MissingTemplateError if the
  // directory has no template, TextError for one that cannot be read or compiled.
  static std::shared_ptr<const ChatTemplate> load(const std::filesystem::path& model_dir);
  // From Jinja source; `tokenizer_config_json` may be empty. `name` stands for the path in errors.
  static std::shared_ptr<const ChatTemplate> from_source(std::string_view source,
                                                         std::string_view tokenizer_config_json,
                                                         std::string_view name);
  ~ChatTemplate();
  ChatTemplate(const ChatTemplate&) = delete;
  ChatTemplate& operator=(const ChatTemplate&) = delete;

  // `messages_json` is a JSON array. Throws ChatInputError if it, the options or the conversation
  // do not suit (the template's own raise_exception included), TextError if the template fails.
  std::string render(std::string_view messages_json, const RenderOptions& options = {}) const;

 private:
  ChatTemplate(krtext_template* handle, std::string name, std::string variables_json);

  krtext_template* handle_;
  std::string name_;
  // JSON object of the special tokens.
  std::string variables_json_;
};

}  // namespace krserve
