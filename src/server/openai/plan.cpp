#include "server/openai/plan.h"

#include <span>

#include "server/openai/chat_request.h"
#include "server/openai/completion_request.h"
#include "server/openai/fields.h"
#include "text/chat_template.h"
#include "text/text_error.h"
#include "text/tokenizer.h"

namespace krserve::server {
namespace {

void check_model(const engine::Engine& engine, const std::string& name) {
  const std::string& served = engine.model().name;
  if (!name.empty() && name != served) throw model_not_found(name, served);
}

void check_tokens(std::span<const int32_t> prompt, uint32_t vocab_size, const char* param) {
  if (prompt.empty()) {
    throw ApiError(400, fmt::format("Invalid value for '{}': it has no tokens.", param), param,
                   "invalid_value");
  }
  for (int32_t id : prompt) {
    if (static_cast<uint32_t>(id) < vocab_size) continue;
    throw ApiError(400,
                   fmt::format("Invalid value for '{}': token id {} is outside the vocabulary of "
                               "{} tokens.",
                               param, id, vocab_size),
                   param, "invalid_value");
  }
}

void check_options(const engine::Engine& engine, const CommonOptions& options) {
  check_model(engine, options.model);
  check_biases(engine, options.sequence.sampling.logit_bias);
}

// One token of room at least; with max_tokens, room for all of them.
void check_context(size_t prompt, uint32_t max_tokens, uint32_t context, const char* param) {
  if (prompt + std::max<size_t>(max_tokens, 1) <= context) return;
  const std::string requested =
      max_tokens == 0 ? fmt::format("the prompt has {}, which leaves no room for output", prompt)
                      : fmt::format("{} were requested ({} in the prompt, {} for the output)",
                                    prompt + max_tokens, prompt, max_tokens);
  throw ApiError(400,
                 fmt::format("This model's maximum context length is {} tokens, but {}. Shorten "
                             "the prompt or ask for fewer tokens.",
                             context, requested),
                 param, "context_length_exceeded");
}

ReplyOptions reply_options(ReplyKind kind, const engine::Engine& engine,
                           const CommonOptions& options) {
  return {.kind = kind,
          .model = engine.model().name,
          .stream = options.stream,
          .include_usage = options.include_usage,
          .choices_per_prompt = options.choices,
          .prefixes = {}};
}

void add_choices(Plan& plan, const CommonOptions& options, const std::vector<int32_t>& prompt,
                 const std::string& prefix) {
  for (uint32_t i = 0; i < options.choices; ++i) {
    engine::Request sequence = options.sequence;
    // Counted within the prompt: a prompt in a list draws what it would draw alone.
    if (sequence.sampling.seed) sequence.sampling.seed = choice_seed(*sequence.sampling.seed, i);
    sequence.prompt = prompt;
    plan.sequences.push_back(std::move(sequence));
    plan.reply.prefixes.push_back(prefix);
  }
}

const ChatTemplate& template_of(const engine::Engine& engine) {
  try {
    return engine.chat_template();
  } catch (const TextError&) {
    throw ApiError(400, "This model has no chat template; use /v1/completions.", {},
                   "no_chat_template");
  }
}

}  // namespace

void check_biases(const engine::Engine& engine, std::span<const engine::LogitBias> biases) {
  const uint32_t vocab_size = engine.model().vocab_size;
  for (const engine::LogitBias& entry : biases) {
    if (static_cast<uint32_t>(entry.token) < vocab_size) continue;
    throw invalid_value("logit_bias",
                        fmt::format("token id {} is outside the vocabulary of {} tokens.",
                                    entry.token, vocab_size));
  }
}

void check_prompt(const engine::Engine& engine, std::span<const int32_t> prompt,
                  uint32_t max_tokens, const char* param) {
  check_tokens(prompt, engine.model().vocab_size, param);
  check_context(prompt.size(), max_tokens, engine.model().context_length, param);
}

std::string render_chat(const engine::Engine& engine, const ChatRequest& request) {
  RenderOptions options;
  options.kwargs_json = request.template_kwargs_json;
  try {
    return template_of(engine).render(request.messages_json, options);
  } catch (const ChatInputError& error) {
    throw ApiError(400, message_without_prefix(error), "messages", "invalid_messages");
  }
}

ApiError model_not_found(std::string_view name, std::string_view served) {
  return ApiError(404,
                  fmt::format("The model '{}' does not exist; this server has '{}'.", name, served),
                  "model", "model_not_found");
}

Plan plan_chat(const engine::Engine& engine, std::string_view body) {
  const ChatRequest request = parse_chat_request(body);
  const CommonOptions& options = request.options;
  check_options(engine, options);
  std::vector<int32_t> prompt =
      engine.tokenizer().encode(render_chat(engine, request), /*add_special_tokens=*/false);
  check_prompt(engine, prompt, options.sequence.max_tokens, "messages");
  Plan plan{.reply = reply_options(ReplyKind::kChat, engine, options), .sequences = {}};
  add_choices(plan, options, prompt, {});
  return plan;
}

Plan plan_completion(const engine::Engine& engine, std::string_view body) {
  CompletionRequest request = parse_completion_request(body);
  const CommonOptions& options = request.options;
  check_options(engine, options);
  Plan plan{.reply = reply_options(ReplyKind::kCompletion, engine, options), .sequences = {}};
  for (Prompt& given : request.prompts) {
    const auto* text = std::get_if<std::string>(&given);
    std::vector<int32_t> prompt =
        text != nullptr ? engine.tokenizer().encode(*text, /*add_special_tokens=*/true)
                        : std::get<std::vector<int32_t>>(std::move(given));
    check_prompt(engine, prompt, options.sequence.max_tokens, "prompt");
    std::string prefix;
    if (request.echo) prefix = text != nullptr ? *text : engine.tokenizer().decode(prompt, false);
    add_choices(plan, options, prompt, prefix);
  }
  return plan;
}

}  // namespace krserve::server
