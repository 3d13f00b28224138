#include "cli/selftest/model_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <future>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "engine/engine.h"
#include "text/chat_template.h"
#include "text/text_error.h"
#include "text/tokenizer.h"

namespace krserve::selftest {
namespace {

using Tokens = std::vector<int32_t>;

constexpr std::chrono::seconds kPatience{300};

struct Switches {
  const char* name;
  bool on;
  int64_t ring_size;
};
constexpr Switches kSwitches[] = {
    {"all off", false, 3}, {"all on, ring of 2", true, 2}, {"all on, ring of 3", true, 3}};

RuntimeConfig config_of(const Switches& switches) {
  RuntimeConfig config;
  MetalOptimizationsConfig& m = config.metal_optimizations;
  m.enabled = switches.on;
  m.graceful_fallback = false;
  m.memory_pool.enabled = m.blit_queue.enabled = m.command_buffer_ring.enabled = switches.on;
  m.memory_pool.heap_size_mb = 32;
  m.memory_pool.num_heaps = 1;
  m.memory_pool.allow_growth = true;
  m.memory_pool.warmup_sizes = {};
  m.blit_queue.staging_buffer_size_mb = 2;
  m.command_buffer_ring.ring_size = switches.ring_size;
  config.engine.parallel = 4;
  config.engine.prefill_chunk_tokens = 24;
  config.engine.ctx_size = 256;
  return config;
}

// Of the model's tokenizer; without one, ids that every vocabulary has.
std::vector<Tokens> prompts_of(const engine::Engine& engine, Extent extent) {
  std::vector<Tokens> out;
  const auto add = [&](const char* question, uint32_t ids) {
    try {
      const std::string chat = fmt::format(R"([{{"role": "user", "content": "{}"}}])", question);
      out.push_back(engine.tokenizer().encode(engine.chat_template().render(chat), false));
    } catch (const TextError&) {
      Tokens tokens;
      for (uint32_t i = 0; i < ids; ++i) {
        tokens.push_back(static_cast<int32_t>((i * 37 + ids) % engine.model().vocab_size));
      }
      out.push_back(std::move(tokens));
    }
    if (out.back().size() > 200) out.back().resize(200);
  };
  add("What is 17 + 25?", 21);
  if (extent == Extent::kQuick) return out;
  add("List the numbers from 50 to 31.", 5);
  add("Reverse the letters of the word mountain.", 40);
  return out;
}

std::future<Tokens> submit(engine::Engine& engine, Tokens prompt, uint32_t tokens) {
  auto promise = std::make_shared<std::promise<Tokens>>();
  auto collected = std::make_shared<Tokens>();
  engine::Request request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0;
  request.max_tokens = tokens;
  engine.submit(std::move(request), [promise, collected](engine::Chunk&& chunk) {
    collected->insert(collected->end(), chunk.tokens.begin(), chunk.tokens.end());
    if (!chunk.finish) return;
    if (*chunk.finish == engine::FinishReason::kError) {
      promise->set_exception(
          std::make_exception_ptr(DeviceError("metal_selftest.model", chunk.error)));
    } else {
      promise->set_value(*collected);
    }
  });
  return promise->get_future();
}

// Up to the model's end: what it would say beyond is decided by rounding. All at once, so that they
// share steps.
std::vector<Tokens> generate(const RuntimeConfig& config, const std::filesystem::path& model,
                             std::shared_ptr<Device> device, Extent extent) {
  const auto engine = engine::Engine::create(config, model, {}, std::move(device));
  const uint32_t tokens = extent == Extent::kQuick ? 6 : 24;
  std::vector<std::future<Tokens>> replies;
  for (Tokens& prompt : prompts_of(*engine, extent)) {
    replies.push_back(submit(*engine, std::move(prompt), tokens));
  }
  std::vector<Tokens> out;
  for (auto& reply : replies) {
    if (reply.wait_for(kPatience) != std::future_status::ready) {
      throw_error<TimeoutError>("metal_selftest.model", "no tokens within {} s: {}",
                                kPatience.count(), engine->health_detail());
    }
    out.push_back(reply.get());
  }
  return out;
}

// Empty if they are equal.
std::string difference(const std::vector<Tokens>& result, const std::vector<Tokens>& expected,
                       const std::string& of) {
  for (size_t i = 0; i < expected.size(); ++i) {
    const Tokens& a = result[i];
    const Tokens& b = expected[i];
    const size_t at = static_cast<size_t>(
        std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
    if (at == a.size() && at == b.size()) continue;
    return fmt::format("prompt {}, token {}: {}; {}'s are {}", i, at, fmt::join(a, " "), of,
                       fmt::join(b, " "));
  }
  return {};
}

}  // namespace

void check_model(CheckLog& log, const OpenDevice& open, const std::filesystem::path& model,
                 Extent extent) {
  log.fact("model", model.string());
  log.doing("the model on the CPU");
  const std::vector<Tokens> cpu =
      generate(config_of(kSwitches[0]), model, open_back_end("cpu"), extent);
  log.fact("the CPU's tokens", fmt::format("{}", fmt::join(cpu[0], " ")));
  std::vector<Tokens> first;
  for (const Switches& switches : kSwitches) {
    log.doing(switches.name);
    try {
      const auto tokens = generate(config_of(switches), model, open(), extent);
      if (first.empty()) first = tokens;
      std::string why = difference(tokens, cpu, "the CPU");
      if (const std::string own = difference(tokens, first, kSwitches[0].name); !own.empty()) {
        why = own;  // the worse: the switches must change nothing
      }
      if (why.empty()) {
        log.passed(switches.name);
      } else {
        log.failed(switches.name, why);
      }
    } catch (const std::exception& error) {
      log.failed(switches.name, error.what());
    }
  }
}

}  // namespace krserve::selftest
