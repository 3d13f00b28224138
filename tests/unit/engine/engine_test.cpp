// The engine on real (small) models: tokens are the golden ones whatever is switched, batched, cut
// or preempted.
#include <gtest/gtest.h>

#include <thread>

#include "base/error.h"
#include "device/cpu/cpu_device.h"
#include "device/fake/fake_device.h"
#include "support/engine_client.h"

namespace krserve::engine {
namespace {

using test::greedy_request;
using test::small_config;
using test::submit;
using test::Submitted;

constexpr const char* kModel = "qwen2-q4-g64";

std::vector<int32_t> golden_ids(const std::string& tensor) {
  return test::golden_ids(kModel, tensor);
}

std::unique_ptr<Engine> make_engine(const RuntimeConfig& config,
                                    std::shared_ptr<Device> device = nullptr) {
  return Engine::create(config, test::golden_dir(kModel), {}, std::move(device));
}

TEST(Engine, GreedyTokensAreTransformersTokens) {
  const auto engine = make_engine(small_config(true, true, true));
  for (const std::string prompt : {"prompt0", "prompt1"}) {
    const auto expected = golden_ids(prompt + ".greedy_ids");
    const auto reply =
        submit(*engine, greedy_request(golden_ids(prompt + ".input_ids"), 16)).wait();
    EXPECT_EQ(reply.tokens, expected);
    EXPECT_EQ(reply.last.finish, FinishReason::kLength);
    EXPECT_EQ(reply.last.completion_tokens, 16U);
  }
}

TEST(Engine, AllSwitchCombinationsAndRingDepthsGiveTheSameTokens) {
  const auto prompt = golden_ids("prompt1.input_ids");
  const auto expected = golden_ids("prompt1.greedy_ids");
  for (int bits = 0; bits < 8; ++bits) {
    for (const int64_t ring_size : {2, 3, 4, 8}) {
      if ((bits & 4) == 0 && ring_size != 2) continue;
      const auto engine =
          make_engine(small_config((bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, ring_size));
      EXPECT_EQ(submit(*engine, greedy_request(prompt, 16)).wait().tokens, expected)
          << "combination " << bits << ", ring " << ring_size;
    }
  }
}

TEST(Engine, BatchCompositionDoesNotChangeTokens) {
  auto config = small_config(true, true, true);
  config.engine.parallel = 3;
  const auto engine = make_engine(config);
  std::vector<std::vector<int32_t>> prompts;
  std::vector<std::vector<int32_t>> alone;
  for (int32_t i = 0; i < 9; ++i) {
    std::vector<int32_t> prompt;
    for (int32_t j = 0; j <= i * 5; ++j) prompt.push_back((i * 31 + j * 7) % 500);
    prompts.push_back(prompt);
    alone.push_back(submit(*engine, greedy_request(prompt, 12)).wait().tokens);
  }
  std::vector<Submitted> together;
  for (const auto& prompt : prompts)
    together.push_back(submit(*engine, greedy_request(prompt, 12)));
  for (size_t i = 0; i < prompts.size(); ++i) EXPECT_EQ(together[i].wait().tokens, alone[i]) << i;
}

// 12 sequences of up to 124 tokens want 93 pages; 1 MiB of f32 KV is 64.
TEST(Engine, PreemptionDoesNotChangeTokens) {
  auto config = small_config(true, true, true);
  config.engine.kv_type = "f32";
  config.engine.parallel = 12;
  config.engine.kv_cache_mb = 1;
  const auto engine = make_engine(config);
  ASSERT_EQ(engine->statistics().kv_pages_total, 64U);
  std::vector<std::vector<int32_t>> alone;
  std::vector<Submitted> together;
  const auto request = [](int32_t i) { return greedy_request({i, i + 1, i + 2, 7}, 120); };
  for (int32_t i = 0; i < 12; ++i) alone.push_back(submit(*engine, request(i)).wait().tokens);
  EXPECT_EQ(engine->statistics().preemptions_total, 0U);
  for (int32_t i = 0; i < 12; ++i) together.push_back(submit(*engine, request(i)));
  for (size_t i = 0; i < 12; ++i) EXPECT_EQ(together[i].wait().tokens, alone[i]) << i;
  EXPECT_GT(engine->statistics().preemptions_total, 0U);
  EXPECT_TRUE(engine->drain(10'000'000'000));
  EXPECT_EQ(engine->statistics().kv_pages_used, 0U);
}

TEST(Engine, SampledTokensDependOnTheSeedAloneNotOnTheBatch) {
  const auto engine = make_engine(small_config(true, true, true));
  auto request = greedy_request({1, 2, 3}, 24);
  request.sampling.temperature = 1.0F;
  request.sampling.top_p = 0.9F;
  request.sampling.seed = 42;
  const auto alone = submit(*engine, request).wait().tokens;
  std::vector<Submitted> crowd;
  for (int i = 0; i < 6; ++i) {
    auto other = greedy_request({9, 8, static_cast<int32_t>(i)}, 10);
    other.sampling.temperature = 1.5F;
    crowd.push_back(submit(*engine, other));
  }
  EXPECT_EQ(submit(*engine, request).wait().tokens, alone);
  for (const auto& other : crowd) other.wait();
  request.sampling.seed = 43;
  EXPECT_NE(submit(*engine, request).wait().tokens, alone);
}

// vllm#27878: penalties must see every token although the host is a step behind.
TEST(Engine, PenaltiesAreTheSameWithAndWithoutOverlap) {
  auto request = greedy_request(golden_ids("prompt0.input_ids"), 40);
  request.sampling.repetition_penalty = 1.3F;
  request.sampling.presence_penalty = 0.8F;
  request.sampling.frequency_penalty = 0.4F;
  const auto blocking = make_engine(small_config(false, false, false));
  const auto overlapped = make_engine(small_config(true, true, true, 4));
  const auto expected = submit(*blocking, request).wait().tokens;
  EXPECT_EQ(submit(*overlapped, request).wait().tokens, expected);
  request.sampling = {};
  request.sampling.temperature = 0;
  EXPECT_NE(submit(*blocking, request).wait().tokens, expected);
  // A slot that was used before starts with clean counts.
  request = greedy_request(golden_ids("prompt0.input_ids"), 40);
  request.sampling.repetition_penalty = 1.3F;
  request.sampling.presence_penalty = 0.8F;
  request.sampling.frequency_penalty = 0.4F;
  EXPECT_EQ(submit(*overlapped, request).wait().tokens, expected);
}

TEST(Engine, EndOfSequenceStopsAndTheTokensDrawnAfterItAreDiscarded) {
  const auto engine = make_engine(small_config(true, true, true));
  const auto ids = golden_ids("prompt0.greedy_ids");
  auto request = greedy_request(golden_ids("prompt0.input_ids"), 100);
  request.stop_token_ids = {ids[4]};
  const auto reply = submit(*engine, request).wait();
  const auto stop = std::find(ids.begin(), ids.end(), ids[4]) - ids.begin();
  EXPECT_EQ(reply.last.finish, FinishReason::kStop);
  EXPECT_EQ(reply.tokens, std::vector<int32_t>(ids.begin(), ids.begin() + stop + 1));
  // The next request on the same slot is not disturbed by steps that were still in flight.
  EXPECT_EQ(submit(*engine, greedy_request(golden_ids("prompt0.input_ids"), 16)).wait().tokens,
            ids);
  EXPECT_LE(engine->statistics().discarded_tokens_total, 2U);
}

TEST(Engine, ContextEndCutsMaxTokens) {
  const auto engine = make_engine(small_config(true, true, true));
  const auto reply = submit(*engine, greedy_request(std::vector<int32_t>(120, 3), 0)).wait();
  EXPECT_EQ(reply.tokens.size(), 8U);
  EXPECT_EQ(reply.last.finish, FinishReason::kLength);
}

TEST(Engine, BadRequestsAreRefusedWithTheNumbers) {
  const auto engine = make_engine(small_config(true, true, true));
  const auto message = [&](Request request) {
    try {
      submit(*engine, std::move(request));
    } catch (const RequestError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_NE(message(greedy_request({}, 1)).find("no tokens"), std::string::npos);
  EXPECT_NE(message(greedy_request(std::vector<int32_t>(128, 1), 1)).find("128"),
            std::string::npos);
  EXPECT_NE(message(greedy_request({512}, 1)).find("512"), std::string::npos);
  EXPECT_NE(message(greedy_request({-1}, 1)).find("-1"), std::string::npos);
  auto request = greedy_request({1}, 1);
  request.sampling.temperature = std::nanf("");
  EXPECT_NE(message(request).find("temperature"), std::string::npos);
  EXPECT_EQ(submit(*engine, greedy_request({1}, 2)).wait().tokens.size(), 2U);
}

// Held by a step that hangs, so that the request cannot end before the cancel comes.
TEST(Engine, CancelGivesOneLastChunkAndFreesThePages) {
  const auto device = std::make_shared<FakeDevice>();
  const auto engine = make_engine(small_config(true, true, true), device);
  device->inject(FakeFault::kHang, 4);
  const Submitted running = submit(*engine, greedy_request({1, 2, 3}, 120));
  running.reply->wait_for_tokens(2);
  engine->cancel(running.id);
  engine->cancel(running.id);
  const auto reply = running.wait();
  EXPECT_EQ(reply.last.finish, FinishReason::kCancelled);
  EXPECT_EQ(reply.finishes, 1U);
  device->release_hangs();
  EXPECT_TRUE(engine->drain(10'000'000'000));
  const auto statistics = engine->statistics();
  EXPECT_EQ(statistics.requests_running, 0U);
  EXPECT_EQ(statistics.kv_pages_used, 0U);
}

TEST(Engine, FullQueueRefusesAndRunningRequestsGoOn) {
  auto config = small_config(true, true, true);
  config.engine.parallel = 1;
  config.engine.max_queued = 1;
  const auto device = std::make_shared<FakeDevice>();
  const auto engine = make_engine(config, device);
  device->inject(FakeFault::kHang, 1);
  const Submitted first = submit(*engine, greedy_request({1}, 100));
  const Submitted second = submit(*engine, greedy_request({2}, 4));
  EXPECT_THROW(submit(*engine, greedy_request({3}, 4)), OverloadError);
  while (device->count_calls("commit compute step") == 0) {  // the step that hangs is there
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  device->release_hangs();
  EXPECT_EQ(first.wait().tokens.size(), 100U);
  EXPECT_EQ(second.wait().tokens.size(), 4U);
}

TEST(Engine, DrainLetsRunningRequestsFinishAndRefusesNewOnes) {
  const auto engine = make_engine(small_config(true, true, true));
  const Submitted running = submit(*engine, greedy_request({1}, 60));
  EXPECT_TRUE(engine->drain(30'000'000'000));
  EXPECT_EQ(running.wait().tokens.size(), 60U);
  EXPECT_THROW(submit(*engine, greedy_request({1}, 1)), OverloadError);
  EXPECT_EQ(engine->health(), Health::kDraining);
}

TEST(Engine, DestructionCancelsWhatRuns) {
  const auto device = std::make_shared<FakeDevice>();
  auto engine = make_engine(small_config(true, true, true), device);
  device->inject(FakeFault::kHang, 4);
  const Submitted running = submit(*engine, greedy_request({1}, 120));
  std::thread destroyer([&] { engine.reset(); });
  EXPECT_EQ(running.wait().last.finish, FinishReason::kCancelled);
  device->release_hangs();
  destroyer.join();
}

TEST(Engine, SteadyDecodeAsksTheDeviceForNothing) {
  const auto engine = make_engine(small_config(true, true, true));
  submit(*engine, greedy_request({1, 2}, 20)).wait();
  const auto before = engine->statistics();
  submit(*engine, greedy_request({1, 2}, 100)).wait();
  const auto after = engine->statistics();
  EXPECT_EQ(after.pool.device_allocations, before.pool.device_allocations);
  EXPECT_EQ(after.pool.fallback_allocations, 0U);
  EXPECT_GT(after.pool.hit_rate, 0.99);
  EXPECT_GT(after.ring.reuse_rate, 0.9);
  EXPECT_GT(after.blit.total_uploads, 100U);
  EXPECT_GT(after.blit.total_downloads, 100U);
}

TEST(Engine, HostTimeIsCountedForEachStepThatEnded) {
  for (const bool ring : {true, false}) {
    const auto engine = make_engine(small_config(true, true, ring));
    submit(*engine, greedy_request({1, 2}, 5)).wait();
    // The last chunk comes before the step that brought it is counted.
    auto statistics = engine->statistics();
    for (int i = 0; i < 500 && statistics.host_step.count < statistics.steps_total; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      statistics = engine->statistics();
    }
    EXPECT_EQ(statistics.host_step.count, statistics.steps_total);
    EXPECT_GT(statistics.host_step.mean_us, 0);
    EXPECT_LE(statistics.host_step.p50_us, statistics.host_step.p99_us);
    EXPECT_LT(statistics.host_step.mean_us * static_cast<double>(statistics.host_step.count),
              statistics.since_reset_s * 1e6);
    engine->reset_statistics();
    EXPECT_EQ(engine->statistics().host_step.count, 0U);
  }
}

TEST(Engine, SwitchedOffComponentsAreNotUsed) {
  const auto engine = make_engine(small_config(false, false, false));
  submit(*engine, greedy_request({1, 2}, 5)).wait();
  const auto statistics = engine->statistics();
  EXPECT_FALSE(statistics.pool.enabled);
  EXPECT_FALSE(statistics.blit.enabled);
  EXPECT_FALSE(statistics.ring.enabled);
  EXPECT_GT(statistics.pool.device_allocations, 5U * 10);  // every step's buffers
}

TEST(Engine, GracefulFallbackSwitchesTheComponentOffAndGivesTheSameTokens) {
  auto config = small_config(true, true, true);
  config.metal_optimizations.graceful_fallback = true;
  const auto device = std::make_shared<FakeDevice>();
  device->inject(FakeFault::kAllocation, 1);  // the pool's first heap
  const auto engine = make_engine(config, device);
  EXPECT_FALSE(engine->statistics().pool.enabled);
  EXPECT_TRUE(engine->statistics().ring.enabled);
  EXPECT_EQ(submit(*engine, greedy_request(golden_ids("prompt0.input_ids"), 16)).wait().tokens,
            golden_ids("prompt0.greedy_ids"));
}

TEST(Engine, WithoutGracefulFallbackAFailedComponentRefusesToStart) {
  const auto device = std::make_shared<FakeDevice>();
  device->inject(FakeFault::kAllocation, 1);
  EXPECT_THROW(make_engine(small_config(true, true, true), device), OutOfMemoryError);
}

TEST(Engine, EveryFailedAllocationWhileLoadingIsAnErrorAndNotACrash) {
  for (uint64_t nth = 1; nth < 60; ++nth) {
    const auto device = std::make_shared<FakeDevice>();
    device->inject(FakeFault::kAllocation, nth);
    try {
      const auto engine = make_engine(small_config(false, true, true), device);
      device->clear_faults();
      submit(*engine, greedy_request({1}, 2)).wait();
      if (nth > 30) return;  // loading needs fewer allocations than this
    } catch (const OutOfMemoryError&) {
    }
    EXPECT_EQ(device->memory().live_bytes, 0U) << nth;
  }
}

// Pages of a step that hung come back a moment after its queue came to rest.
void wait_for_no_pages(const Engine& engine) {
  for (int i = 0; i < 500 && engine.statistics().kv_pages_used > 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(engine.statistics().kv_pages_used, 0U);
}

class EngineFault : public ::testing::TestWithParam<std::tuple<FakeFault, int>> {};

// A step that fails takes its own requests with it; the engine, the cache and later requests go on.
TEST_P(EngineFault, FailsItsRequestsAndTheRestGoOn) {
  const auto [fault, nth] = GetParam();
  for (const bool ring : {true, false}) {
    const auto device = std::make_shared<FakeDevice>();
    auto config = small_config(true, true, ring);
    config.metal_optimizations.command_buffer_ring.timeout_ms = 50;
    if (!ring && fault == FakeFault::kHang) continue;  // no time-out without the ring
    const auto engine = make_engine(config, device);
    device->inject(fault, static_cast<uint64_t>(nth));
    const auto hit = submit(*engine, greedy_request(golden_ids("prompt0.input_ids"), 16)).wait();
    EXPECT_EQ(hit.last.finish, FinishReason::kError);
    EXPECT_FALSE(hit.last.error.empty());
    device->clear_faults();
    device->release_hangs();
    EXPECT_EQ(submit(*engine, greedy_request(golden_ids("prompt0.input_ids"), 16)).wait().tokens,
              golden_ids("prompt0.greedy_ids"));
    EXPECT_TRUE(engine->drain(10'000'000'000));
    wait_for_no_pages(*engine);
    EXPECT_EQ(engine->health(), Health::kDraining);
  }
}

INSTANTIATE_TEST_SUITE_P(Faults, EngineFault,
                         ::testing::Combine(::testing::Values(FakeFault::kCommit,
                                                              FakeFault::kExecution,
                                                              FakeFault::kHang),
                                            ::testing::Values(1, 2, 3, 4, 7)));

// Steps end in order, so the next one's completion tells of the lost one; after the last step (2 of
// prompt, 15 of output) there is none, and only the time-out helps.
TEST(Engine, LostCompletionIsMadeUpByTheNextStepOrTimesOut) {
  for (const uint64_t nth : {1U, 5U, 17U}) {
    const auto device = std::make_shared<FakeDevice>();
    auto config = small_config(true, true, true);
    config.metal_optimizations.command_buffer_ring.timeout_ms = 50;
    const auto engine = make_engine(config, device);
    device->inject(FakeFault::kLostCompletion, nth);
    const auto hit = submit(*engine, greedy_request(golden_ids("prompt0.input_ids"), 16)).wait();
    if (nth < 17) {
      EXPECT_EQ(hit.tokens, golden_ids("prompt0.greedy_ids")) << nth;
    } else {
      EXPECT_EQ(hit.last.finish, FinishReason::kError);
      EXPECT_EQ(engine->statistics().ring.timeouts, 1U);
    }
    EXPECT_EQ(submit(*engine, greedy_request(golden_ids("prompt0.input_ids"), 16)).wait().tokens,
              golden_ids("prompt0.greedy_ids"));
  }
}

// Sequences of later steps in flight are computed again and get the tokens they would have had.
TEST(Engine, ASequenceThatWasNotInTheFailedStepGoesOnWithTheSameTokens) {
  const auto device = std::make_shared<FakeDevice>();
  const auto engine = make_engine(small_config(true, true, true), device);
  device->inject(FakeFault::kExecution, 1);
  const Submitted victim = submit(*engine, greedy_request({1}, 40));
  victim.wait();
  const Submitted other = submit(*engine, greedy_request(golden_ids("prompt0.input_ids"), 16));
  EXPECT_EQ(other.wait().tokens, golden_ids("prompt0.greedy_ids"));
}

TEST(Engine, HungStepMakesHealthStalledUntilItIsReleased) {
  const auto device = std::make_shared<FakeDevice>();
  auto config = small_config(true, true, true);
  config.engine.health_stall_s = 1;
  const auto engine = make_engine(config, device);
  device->inject(FakeFault::kHang, 1);
  const Submitted stuck = submit(*engine, greedy_request({1}, 4));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (engine->health() != Health::kStalled && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(engine->health(), Health::kStalled);
  EXPECT_NE(engine->health_detail().find("in flight"), std::string::npos);
  device->release_hangs();
  EXPECT_EQ(stuck.wait().tokens.size(), 4U);
  EXPECT_EQ(engine->health(), Health::kReady);
}

}  // namespace
}  // namespace krserve::engine
