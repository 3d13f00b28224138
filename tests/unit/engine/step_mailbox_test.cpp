// On a device with memory of its own a recorded step fetches its parameters from a mailbox and
// leaves its tokens where the host reads them; what does not fit is an upload.
#include <gtest/gtest.h>

#include "device/fake/fake_device.h"
#include "engine/scheduler/scheduler.h"
#include "engine/step/step_runner.h"
#include "support/engine_client.h"
#include "support/tokenizer.h"

namespace krserve::engine {
namespace {

constexpr const char* kModel = "qwen2-q4-g64";
constexpr uint32_t kContext = 96;
constexpr uint32_t kPageTokens = 4;
constexpr uint32_t kSlots = 2;
constexpr uint32_t kChunk = 16;

struct Outcome {
  std::vector<std::vector<int32_t>> tokens;  // of each sequence, after its prompt
  uint64_t uploads = 0;                      // commits on the queue to the device, while it ran
  uint64_t downloads = 0;
};

// Two prompts of 30 and 7 tokens and 24 tokens after each, two steps in flight. The second one's
// bias lies behind the page list.
Outcome run(uint64_t mailbox_pages, bool unified = false) {
  FakeOptions options;
  options.unified_memory = unified;
  const auto device = std::make_shared<FakeDevice>(options);
  const auto directory = test::golden_dir(kModel);
  const ModelConfig model = read_model_config(directory);
  Components parts =
      make_components(device, test::small_config(true, true, true, 2).metal_optimizations, {});
  KvCacheOptions kv;
  kv.page_tokens = kPageTokens;
  kv.total_tokens = kSlots * kContext;
  KvCache cache(model, kv, *parts.allocator);
  const auto weights = std::make_shared<const DeviceWeights>(
      device, *parts.allocator, *parts.transfers, std::make_shared<const Checkpoint>(directory),
      model, kContext, [](double) {});
  const Decoder decoder(model, weights, cache.layout());
  StepRunnerOptions runner_options;
  runner_options.slots = kSlots;
  runner_options.max_rows = kSlots + kChunk;
  runner_options.max_pages = kSlots * (cache.pages_for(kContext) + 1);
  runner_options.mailbox_pages = mailbox_pages;
  StepRunner runner(parts, decoder, cache.segments(), runner_options);
  Scheduler scheduler(SchedulerOptions{kSlots, kChunk}, cache);

  Outcome out;
  std::vector<SequencePtr> sequences;
  const auto tokenizer = test::tokenizer_if_any(directory);
  for (const uint32_t prompt : {30U, 7U}) {
    Request request = test::greedy_request(std::vector<int32_t>(prompt, 5), 24);
    if (prompt == 7) request.sampling.logit_bias = {{11, -100.0F}, {9, 100.0F}};
    auto sequence = std::make_shared<Sequence>(std::move(request), Detokenizer(tokenizer));
    sequence->tokens = sequence->request.prompt;
    sequence->prompt_tokens = prompt;
    sequence->max_tokens = 24;
    scheduler.add(sequence);
    sequences.push_back(std::move(sequence));
  }
  const uint64_t uploads = device->count_calls("commit copy_to_device");
  const uint64_t downloads = device->count_calls("commit copy_to_host");
  std::deque<StepInFlight> steps;
  for (;;) {
    StepPlan plan = steps.size() < runner.depth() ? scheduler.plan() : StepPlan{};
    if (!plan.empty()) {
      steps.push_back(runner.submit(std::move(plan), false));
      continue;
    }
    if (steps.empty()) break;
    EXPECT_EQ(runner.wait(steps.front(), kNoTimeout), WaitResult::kReached);
    size_t sample = 0;
    for (const PlannedRows& part : steps.front().plan.parts) {
      const SequencePtr& sequence = part.sequence;
      if (part.samples) sequence->tokens.push_back(runner.tokens(steps.front())[sample++]);
      scheduler.step_ended(sequence);
      if (sequence->output_tokens() == sequence->max_tokens) scheduler.finish(sequence);
    }
    steps.pop_front();
  }
  for (const SequencePtr& sequence : sequences) {
    out.tokens.emplace_back(sequence->tokens.begin() + sequence->prompt_tokens,
                            sequence->tokens.end());
  }
  out.uploads = device->count_calls("commit copy_to_device") - uploads;
  out.downloads = device->count_calls("commit copy_to_host") - downloads;
  return out;
}

TEST(StepMailbox, SparesEveryCopyOfAStepAndGivesTheSameTokens) {
  const Outcome unified = run(8192, true);
  const Outcome mailbox = run(8192);
  EXPECT_EQ(mailbox.tokens.at(0).size(), 24U);
  EXPECT_EQ(mailbox.tokens, unified.tokens);
  EXPECT_EQ(mailbox.tokens.at(1), std::vector<int32_t>(24, 9));
  EXPECT_EQ(mailbox.uploads, 0U);
  EXPECT_EQ(mailbox.downloads, 0U);
}

TEST(StepMailbox, PagesThatDoNotFitAreUploaded) {
  const Outcome whole = run(8192);
  for (const uint64_t pages : {0U, 1U, 9U, 20U}) {
    const Outcome part = run(pages);
    EXPECT_EQ(part.tokens, whole.tokens) << pages;
    EXPECT_GT(part.uploads, 0U) << pages;
    EXPECT_EQ(part.downloads, 0U) << pages;
  }
}

}  // namespace
}  // namespace krserve::engine
