#include "engine/scheduler/scheduler.h"

#include <gtest/gtest.h>

#include <cstring>

#include "device/fake/fake_device.h"
#include "engine/step/step_params.h"
#include "support/engine_client.h"
#include "support/tokenizer.h"

namespace krserve::engine {
namespace {

class SchedulerTest : public ::testing::Test {
 protected:
  // `pages` pages of 16 tokens, `slots` sequences at a time, chunks of `chunk` rows.
  void make(uint32_t pages, uint32_t slots, uint32_t chunk) {
    ModelConfig model;
    model.layers = 1;
    model.kv_heads = 1;
    model.head_dim = 8;
    KvCacheOptions options;
    options.total_tokens = pages * 16;
    cache_ = std::make_unique<KvCache>(model, options, allocator_);
    scheduler_ = std::make_unique<Scheduler>(SchedulerOptions{slots, chunk}, *cache_);
  }

  SequencePtr add(uint32_t prompt, uint32_t max_tokens, bool penalties = false) {
    Request request;
    request.prompt.assign(prompt, 1);
    if (penalties) request.sampling.presence_penalty = 1;
    auto sequence = std::make_shared<Sequence>(request, Detokenizer(tokenizer_));
    sequence->id = next_id_++;
    sequence->tokens = request.prompt;
    sequence->prompt_tokens = prompt;
    sequence->max_tokens = max_tokens;
    scheduler_->add(sequence);
    return sequence;
  }

  // The host learns the tokens of a step.
  void end(const StepPlan& plan) {
    for (const PlannedRows& part : plan.parts) {
      if (part.samples) part.sequence->tokens.push_back(7);
      scheduler_->step_ended(part.sequence);
    }
  }

  std::shared_ptr<const Tokenizer> tokenizer_ =
      test::tokenizer_if_any(test::golden_dir("qwen2-bf16"));
  std::shared_ptr<FakeDevice> device_ = std::make_shared<FakeDevice>();
  runtime::DirectAllocator allocator_{device_};
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Scheduler> scheduler_;
  RequestId next_id_ = 1;
};

TEST_F(SchedulerTest, ALongPromptIsCutInChunksAndSampledOnceAtItsEnd) {
  make(8, 2, 16);
  add(40, 4);
  const StepPlan first = scheduler_->plan();
  ASSERT_EQ(first.rows, 16U);
  EXPECT_EQ(first.samples, 0U);
  const StepPlan second = scheduler_->plan();
  EXPECT_EQ(second.parts[0].first_position, 16U);
  EXPECT_EQ(second.samples, 0U);
  const StepPlan third = scheduler_->plan();
  EXPECT_EQ(third.rows, 8U);
  EXPECT_EQ(third.samples, 1U);
}

TEST_F(SchedulerTest, DecodingGoesOnBeforeTheHostKnowsTheTokens) {
  make(8, 1, 16);
  const SequencePtr sequence = add(4, 3);
  const StepPlan prefill = scheduler_->plan();
  const StepPlan decode = scheduler_->plan();  // nothing has ended yet
  EXPECT_EQ(prefill.parts[0].draw_index, 0U);
  EXPECT_EQ(decode.parts[0].first_position, 4U);
  EXPECT_EQ(decode.parts[0].draw_index, 1U);
  EXPECT_EQ(sequence->tokens.size(), 4U);
}

TEST_F(SchedulerTest, NothingIsScheduledPastMaxTokens) {
  make(8, 1, 16);
  add(4, 3);
  uint32_t samples = 0;
  for (int i = 0; i < 10; ++i) samples += scheduler_->plan().samples;
  EXPECT_EQ(samples, 3U);
  EXPECT_TRUE(scheduler_->plan().empty());
}

TEST_F(SchedulerTest, OneTokenPromptIsSampledAtOnce) {
  make(8, 1, 16);
  add(1, 2);
  const StepPlan plan = scheduler_->plan();
  EXPECT_EQ(plan.rows, 1U);
  EXPECT_EQ(plan.samples, 1U);
}

TEST_F(SchedulerTest, RunningSequencesComeFirstAndPromptsFillTheRest) {
  make(16, 4, 16);
  add(4, 8);
  end(scheduler_->plan());
  add(30, 8);
  const StepPlan mixed = scheduler_->plan();
  ASSERT_EQ(mixed.parts.size(), 2U);
  EXPECT_EQ(mixed.parts[0].count, 1U);
  EXPECT_EQ(mixed.parts[1].count, 16U);
}

TEST_F(SchedulerTest, MoreRequestsThanSlotsWaitInOrder) {
  make(16, 2, 64);
  const SequencePtr a = add(2, 1);
  add(2, 1);
  const SequencePtr c = add(2, 1);
  const StepPlan plan = scheduler_->plan();
  EXPECT_EQ(plan.parts.size(), 2U);
  EXPECT_EQ(scheduler_->waiting(), 1U);
  end(plan);
  scheduler_->finish(a);
  EXPECT_EQ(scheduler_->plan().parts[0].sequence, c);
}

TEST_F(SchedulerTest, PromptThatDoesNotFitNowWaitsForPages) {
  make(4, 2, 64);
  const SequencePtr a = add(40, 1);
  add(30, 1);
  end(scheduler_->plan());
  EXPECT_EQ(scheduler_->waiting(), 1U);
  scheduler_->finish(a);
  EXPECT_EQ(scheduler_->plan().parts.size(), 1U);
  EXPECT_EQ(scheduler_->waiting(), 0U);
}

TEST_F(SchedulerTest, WithoutPagesTheLastAdmittedIsPreemptedAndComesBack) {
  make(4, 2, 64);
  const SequencePtr a = add(16, 40);
  const SequencePtr b = add(16, 40);
  end(scheduler_->plan());
  while (b->state == SequenceState::kRunning) end(scheduler_->plan());
  EXPECT_EQ(scheduler_->preemptions(), 1U);
  EXPECT_EQ(b->state, SequenceState::kWaiting);
  EXPECT_TRUE(b->pages.empty());
  EXPECT_EQ(b->computed, 0U);
  const uint32_t known = b->output_tokens();
  EXPECT_GT(known, 0U);
  scheduler_->finish(a);
  const StepPlan again = scheduler_->plan();
  ASSERT_EQ(again.parts.size(), 1U);
  EXPECT_EQ(again.parts[0].sequence, b);
  EXPECT_EQ(again.parts[0].count, 16 + known);  // everything is computed again
  EXPECT_EQ(again.parts[0].draw_index, known);  // and drawing goes on where it was
  scheduler_->finish(b);
  EXPECT_EQ(cache_->free_pages(), cache_->total_pages());
  EXPECT_TRUE(cache_->check_integrity());
}

TEST_F(SchedulerTest, PreemptedSequenceWaitsForItsStepsInFlight) {
  make(8, 2, 64);
  const SequencePtr a = add(4, 8);
  const StepPlan first = scheduler_->plan();
  const StepPlan second = scheduler_->plan();
  scheduler_->preempt(a);
  EXPECT_EQ(a->state, SequenceState::kDraining);
  EXPECT_TRUE(scheduler_->plan().empty());
  end(first);
  EXPECT_EQ(a->state, SequenceState::kDraining);
  end(second);
  EXPECT_EQ(a->state, SequenceState::kWaiting);
  EXPECT_EQ(a->drawn, 2U);
}

TEST_F(SchedulerTest, FinishedSequenceFreesItsPagesAtOnce) {
  make(8, 2, 64);
  const SequencePtr a = add(40, 8);
  const StepPlan plan = scheduler_->plan();
  EXPECT_GT(cache_->used_pages(), 0U);
  scheduler_->finish(a);
  EXPECT_EQ(cache_->used_pages(), 0U);
  scheduler_->step_ended(plan.parts[0].sequence);  // its step in flight ends later
  EXPECT_TRUE(scheduler_->idle());
}

template <class T>
T read(const std::vector<std::byte>& bytes, uint64_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

TEST_F(SchedulerTest, StepParamsHoldRowsSamplesAndPages) {
  make(8, 2, 64);
  add(20, 4);
  const StepPlan plan = scheduler_->plan();
  const StepCapacity capacity{32, 4};
  std::vector<std::byte> bytes;
  write_step_params(plan, capacity, bytes);
  const auto layout = ops::step_layout(32, 4);
  const auto header = read<ops::StepHeader>(bytes, 0);
  EXPECT_EQ(header.num_rows, 20U);
  EXPECT_EQ(header.num_samples, 1U);
  EXPECT_EQ(header.num_pages, 2U);
  const auto last = read<ops::StepRow>(bytes, layout.rows_offset + 19 * sizeof(ops::StepRow));
  EXPECT_EQ(last.token, 1);
  EXPECT_EQ(last.position, 19U);
  EXPECT_EQ(last.flags, ops::kRowPrompt);
  EXPECT_EQ(read<ops::SampleRow>(bytes, layout.samples_offset).row, 19U);
  EXPECT_EQ(read<uint32_t>(bytes, layout.pages_offset + 4), plan.parts[0].pages[1]);
  EXPECT_EQ(bytes.size(), layout.pages_offset + 8);
}

TEST_F(SchedulerTest, StepParamsHoldTheBiasesOfSampledRowsBehindThePages) {
  make(8, 3, 24);
  add(3, 4)->request.sampling.logit_bias = {{9, 1.5F}};
  add(3, 4);
  const SequencePtr third = add(20, 4);  // its prompt takes two steps
  third->request.sampling.logit_bias = {{5, -2}, {4, 100}};
  std::vector<std::byte> bytes;
  const auto layout = ops::step_layout(32, 4);
  const auto sample = [&](uint32_t i) {
    return read<ops::SampleRow>(bytes, layout.samples_offset + i * sizeof(ops::SampleRow));
  };
  const auto bias = [&](uint32_t i) {
    const auto pages = read<ops::StepHeader>(bytes, 0).num_pages;
    return read<ops::LogitBias>(bytes,
                                ops::biases_offset(layout, pages) + i * sizeof(ops::LogitBias));
  };
  write_step_params(scheduler_->plan(), {32, 4}, bytes);
  EXPECT_EQ(read<ops::StepHeader>(bytes, 0).num_biases, 1U);
  EXPECT_EQ(sample(0).num_biases, 1U);
  EXPECT_EQ(sample(1).num_biases, 0U);
  EXPECT_EQ(bias(0).token, 9U);
  EXPECT_EQ(bias(0).bias, 1.5F);
  write_step_params(scheduler_->plan(), {32, 4}, bytes);
  const auto header = read<ops::StepHeader>(bytes, 0);
  EXPECT_EQ(header.num_samples, 3U);
  EXPECT_EQ(header.num_biases, 3U);
  EXPECT_EQ(sample(2).num_biases, 2U);
  EXPECT_EQ(bias(sample(0).biases_begin).token, 9U);
  EXPECT_EQ(bias(sample(2).biases_begin).token, 5U);
  EXPECT_EQ(bias(sample(2).biases_begin + 1).bias, 100.0F);
  EXPECT_EQ(bytes.size(), ops::biases_offset(layout, header.num_pages) + 24);
}

TEST_F(SchedulerTest, StepParamsHaveRoomForAllBiasesOfAllSamples) {
  make(8, 2, 64);
  for (int i = 0; i < 2; ++i) {
    const SequencePtr sequence = add(20, 4);
    for (int32_t token = 0; token < static_cast<int32_t>(kMaxLogitBiases); ++token) {
      sequence->request.sampling.logit_bias.push_back({token, 1});
    }
  }
  const StepPlan plan = scheduler_->plan();
  ASSERT_EQ(plan.samples, 2U);
  std::vector<std::byte> bytes;
  write_step_params(plan, {40, 2}, bytes);
  EXPECT_EQ(bytes.size(), step_params_bytes({40, 2}, 4));
}

TEST_F(SchedulerTest, DecodedRowsTakeTheirTokenFromTheSlot) {
  make(8, 2, 64);
  add(4, 4);
  scheduler_->plan();
  std::vector<std::byte> bytes;
  write_step_params(scheduler_->plan(), {4, 4}, bytes);
  const auto row = read<ops::StepRow>(bytes, ops::step_layout(4, 4).rows_offset);
  EXPECT_EQ(row.token, ops::kTokenFromSlot);
  EXPECT_EQ(row.position, 4U);
}

TEST_F(SchedulerTest, PenaltiesCountThePromptOnceAndOutputOfARecomputedSequence) {
  make(8, 2, 64);
  const SequencePtr a = add(3, 8, true);
  const StepPlan prefill = scheduler_->plan();
  std::vector<std::byte> bytes;
  write_step_params(prefill, {8, 4}, bytes);
  const auto layout = ops::step_layout(8, 4);
  const auto flags = [&](uint32_t row) {
    return read<ops::StepRow>(bytes, layout.rows_offset + row * sizeof(ops::StepRow)).flags;
  };
  EXPECT_EQ(flags(0), ops::kRowClearCounts | ops::kRowCountPrompt | ops::kRowPrompt);
  EXPECT_EQ(flags(2), ops::kRowCountPrompt | ops::kRowPrompt);
  write_step_params(scheduler_->plan(), {8, 4}, bytes);
  EXPECT_EQ(flags(0), 0U);  // counted when it was drawn
  a->tokens.insert(a->tokens.end(), {7, 7});
  scheduler_->preempt(a);
  scheduler_->step_ended(a);
  scheduler_->step_ended(a);
  write_step_params(scheduler_->plan(), {8, 4}, bytes);
  EXPECT_EQ(flags(0), ops::kRowClearCounts | ops::kRowCountPrompt | ops::kRowPrompt);
  EXPECT_EQ(flags(3), ops::kRowCountOutput);
  EXPECT_EQ(flags(4), ops::kRowCountOutput);
}

// A row's role is its position's, whatever computes it: chunks, decoding, decoding again.
TEST_F(SchedulerTest, RowsOfThePromptAreFlaggedInEveryStep) {
  make(8, 2, 16);
  const SequencePtr a = add(20, 8);
  std::vector<bool> steps;
  const auto prompts = [&]() {
    const StepPlan plan = scheduler_->plan();
    steps.push_back(plan.has_prompt());
    std::vector<std::byte> bytes;
    write_step_params(plan, {32, 4}, bytes);
    std::string roles;
    for (uint32_t i = 0; i < plan.rows; ++i) {
      const uint64_t at = ops::step_layout(32, 4).rows_offset + i * sizeof(ops::StepRow);
      roles += read<ops::StepRow>(bytes, at).flags == ops::kRowPrompt ? 'p' : '-';
    }
    return roles;
  };
  EXPECT_EQ(prompts(), std::string(16, 'p'));
  EXPECT_EQ(prompts(), "pppp");
  EXPECT_EQ(prompts(), "-");
  add(1, 8);  // its only row is the prompt's
  EXPECT_EQ(prompts(), "-p");
  EXPECT_EQ(prompts(), "--");
  a->tokens.insert(a->tokens.end(), {7, 7, 7, 7});
  scheduler_->preempt(a);
  for (int i = 0; i < 5; ++i) scheduler_->step_ended(a);
  EXPECT_EQ(prompts(), "-" + std::string(16, 'p'));
  EXPECT_EQ(prompts(), "-pppp----");
  EXPECT_EQ(prompts(), "--");
  EXPECT_EQ(steps, (std::vector<bool>{true, true, false, true, false, true, true, false}));
}

}  // namespace
}  // namespace krserve::engine
