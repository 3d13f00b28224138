// krserve generate: one prompt, streamed to the terminal.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <condition_variable>
#include <cstdio>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/progress.h"
#include "engine/engine.h"
#include "runtime/trace/trace.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace krserve::cli {
namespace {

using Json = nlohmann::json;

struct GenerateOptions {
  CommonOptions common;
  std::string prompt;
  std::string chat;
  std::string system;
  std::vector<int32_t> tokens;
  uint32_t max_tokens = 256;
  engine::SamplingParams sampling;
  std::vector<std::string> logit_bias;  // "ID=BIAS"
  uint64_t seed = 0;
  bool has_seed = false;
  std::vector<std::string> stop;
  bool json = false;
  std::string trace_file;
};

// Collects chunks on the engine's thread; the main thread waits for the last one.
class Output {
 public:
  enum class Stream { kNothing, kText, kTokens };
  explicit Output(Stream stream) : stream_(stream) {}

  void take(engine::Chunk&& chunk) {
    const std::lock_guard lock(mutex_);
    text_ += chunk.text;
    tokens_.insert(tokens_.end(), chunk.tokens.begin(), chunk.tokens.end());
    if (stream_ != Stream::kNothing) print(chunk);
    if (!chunk.finish) return;
    last_ = std::move(chunk);
    done_ = true;
    changed_.notify_all();
  }

  const engine::Chunk& wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return done_; });
    return last_;
  }

  const std::string& text() const { return text_; }
  const std::vector<int32_t>& tokens() const { return tokens_; }

 private:
  void print(const engine::Chunk& chunk) const {
    if (stream_ == Stream::kText) std::fwrite(chunk.text.data(), 1, chunk.text.size(), stdout);
    if (stream_ == Stream::kTokens) fmt::print("{} ", fmt::join(chunk.tokens, " "));
    std::fflush(stdout);
  }

  const Stream stream_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::string text_;
  std::vector<int32_t> tokens_;
  engine::Chunk last_;
  bool done_ = false;
};

std::vector<int32_t> encode_prompt(const GenerateOptions& options, const engine::Engine& engine) {
  if (!options.tokens.empty()) return options.tokens;
  if (options.chat.empty()) return engine.tokenizer().encode(options.prompt, true);
  Json messages = Json::array();
  if (!options.system.empty())
    messages.push_back({{"role", "system"}, {"content", options.system}});
  messages.push_back({{"role", "user"}, {"content", options.chat}});
  const std::string text = engine.chat_template().render(messages.dump());
  return engine.tokenizer().encode(text, false);
}

Json to_json(const Output& output, const engine::Chunk& last, const engine::ModelInfo& model) {
  const auto ms = [](uint64_t ns) { return static_cast<double>(ns) / 1e6; };
  const uint32_t steps = last.completion_tokens > 1 ? last.completion_tokens - 1 : 0;
  const double decode_s = static_cast<double>(last.times.decode_ns) / 1e9;
  return {{"model", model.name},
          {"text", output.text()},
          {"tokens", output.tokens()},
          {"finish_reason", engine::to_string(*last.finish)},
          {"usage",
           {{"prompt_tokens", last.prompt_tokens},
            {"completion_tokens", last.completion_tokens},
            {"total_tokens", last.prompt_tokens + last.completion_tokens}}},
          {"ttft_ms", ms(last.times.ttft_ns)},
          {"total_ms", ms(last.times.total_ns)},
          {"tokens_per_s", decode_s > 0 ? steps / decode_s : 0.0}};
}

engine::LogitBias parse_bias(const std::string& text) {
  std::istringstream in(text);
  engine::LogitBias entry{};
  char equals = 0;
  if (in >> entry.token >> equals >> entry.bias && equals == '=' && in.peek() == EOF) return entry;
  throw_error<UsageError>("cli.generate", "--logit-bias {}; give ID=BIAS, as in 17=-100", text);
}

int run(GenerateOptions& options) {
  const int prompts = !options.prompt.empty() + !options.chat.empty() + !options.tokens.empty();
  if (prompts != 1) {
    throw UsageError("cli.generate", "give one of --prompt TEXT, --chat TEXT and --tokens IDS");
  }
  if (options.has_seed) options.sampling.seed = options.seed;
  for (const std::string& text : options.logit_bias) {
    options.sampling.logit_bias.push_back(parse_bias(text));
  }
  const LoadedConfig config = options.common.load();
  if (config.origins.find("logging.level") == config.origins.end()) {
    set_log_level(LogLevel::kWarn);
  }
  ProgressBar bar("loading");
  const auto trace =
      options.trace_file.empty() ? nullptr : std::make_shared<runtime::TraceRecorder>();
  auto engine = engine::Engine::create(
      config.values, model_directory(config.values),
      [&](double fraction, const std::string& what) { bar.update(fraction, what); }, nullptr,
      trace);
  bar.finish();
  engine::Request request;
  request.prompt = encode_prompt(options, *engine);
  request.sampling = options.sampling;
  request.max_tokens = options.max_tokens;
  request.stop = options.stop;
  const auto stream = options.tokens.empty() ? Output::Stream::kText : Output::Stream::kTokens;
  auto output = std::make_shared<Output>(options.json ? Output::Stream::kNothing : stream);
  engine->submit(std::move(request),
                 [output](engine::Chunk&& chunk) { output->take(std::move(chunk)); });
  const engine::Chunk& last = output->wait();
  if (*last.finish == engine::FinishReason::kError) throw DeviceError("cli.generate", last.error);
  if (options.json) {
    std::printf("%s\n", to_json(*output, last, engine->model())
                            .dump(2, ' ', false, Json::error_handler_t::replace)
                            .c_str());
  } else {
    std::printf("\n");
  }
  engine.reset();
  if (trace) trace->write(options.trace_file);
  return kExitOk;
}

}  // namespace

Command add_generate(CLI::App& app) {
  auto options = std::make_shared<GenerateOptions>();
  options->common.add_to(app);
  app.add_option("--prompt", options->prompt, "Text to continue, as it is");
  app.add_option("--chat", options->chat, "A user's message, through the model's chat template");
  app.add_option("--system", options->system, "System message for --chat");
  app.add_option("--tokens", options->tokens,
                 "Prompt as token ids (1,2,3), for builds without a tokenizer; prints ids")
      ->delimiter(',');
  app.add_option("--max-tokens", options->max_tokens, "Most tokens to generate")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--temperature", options->sampling.temperature, "0 = greedy");
  app.add_option("--top-p", options->sampling.top_p, "Nucleus sampling; 1 = off");
  app.add_option("--top-k", options->sampling.top_k, "0 = off");
  app.add_option("--min-p", options->sampling.min_p, "0 = off");
  app.add_option("--repetition-penalty", options->sampling.repetition_penalty, "1 = off");
  app.add_option("--logit-bias", options->logit_bias,
                 "ID=BIAS: token id and what is added to its logit, -100 to 100; may be repeated")
      ->allow_extra_args(false);
  auto* seed = app.add_option("--seed", options->seed, "Makes sampling repeatable");
  app.add_option("--stop", options->stop, "Stop string; may be repeated")->allow_extra_args(false);
  app.add_option("--trace", options->trace_file,
                 "Write a trace (Chrome, Perfetto) to this file, loading included");
  app.add_flag("--json", options->json, "Print one JSON object at the end instead of streaming");
  return [options, seed] {
    options->has_seed = seed->count() > 0;
    return run(*options);
  };
}

}  // namespace krserve::cli
