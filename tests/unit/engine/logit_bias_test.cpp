// Logit bias through the whole engine: what it forces and bans, and that its tokens depend on
// nothing but the request.
#include <gmock/gmock.h>

#include <cmath>

#include "base/error.h"
#include "device/fake/fake_device.h"
#include "support/engine_client.h"

namespace krserve::engine {
namespace {

using test::greedy_request;
using test::small_config;
using test::submit;
using test::Submitted;
using ::testing::Contains;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kModel = "qwen2-q4-g64";

std::vector<int32_t> golden_ids(const std::string& tensor) {
  return test::golden_ids(kModel, tensor);
}

std::unique_ptr<Engine> make_engine(const RuntimeConfig& config,
                                    std::shared_ptr<Device> device = nullptr) {
  return Engine::create(config, test::golden_dir(kModel), {}, std::move(device));
}

Request biased_request(std::vector<LogitBias> biases, const std::string& prompt = "prompt0") {
  Request request = greedy_request(golden_ids(prompt + ".input_ids"), 16);
  request.sampling.logit_bias = std::move(biases);
  return request;
}

// Drawn, penalized, and pushed about by a bias on every third token.
Request drawn_request(int32_t serial, uint32_t max_tokens) {
  Request request = greedy_request({serial, serial + 1, serial + 2, 7}, max_tokens);
  request.sampling.temperature = 0.9F;
  request.sampling.top_p = 0.95F;
  request.sampling.repetition_penalty = 1.2F;
  request.sampling.seed = static_cast<uint64_t>(serial);
  for (int32_t token = serial % 3; token < 512; token += 3) {
    request.sampling.logit_bias.push_back({token, static_cast<float>(token * 37 % 11 - 5)});
  }
  return request;
}

TEST(LogitBias, ForcesAndBansAndLeavesNeighboursAlone) {
  const auto engine = make_engine(small_config(true, true, true));
  const auto ids0 = golden_ids("prompt0.greedy_ids"), ids1 = golden_ids("prompt1.greedy_ids");
  const Submitted forced = submit(*engine, biased_request({{317, 100}}));
  const Submitted plain0 = submit(*engine, biased_request({}));
  const Submitted banned = submit(*engine, biased_request({{ids0[0], -100}, {ids0[1], -100}}));
  const Submitted plain1 = submit(*engine, biased_request({}, "prompt1"));
  EXPECT_EQ(forced.wait().tokens, std::vector<int32_t>(16, 317));
  EXPECT_THAT(banned.wait().tokens, Not(Contains(ids0[0])));
  EXPECT_THAT(banned.wait().tokens, Not(Contains(ids0[1])));
  EXPECT_EQ(plain0.wait().tokens, ids0);
  EXPECT_EQ(plain1.wait().tokens, ids1);
  // Nothing of it stays in the slots.
  EXPECT_EQ(submit(*engine, biased_request({})).wait().tokens, ids0);
}

TEST(LogitBias, ForcesDrawnTokensToo) {
  const auto engine = make_engine(small_config(true, true, true));
  Request request = biased_request({{0, 100}});
  request.sampling.temperature = 1.5F;
  EXPECT_THAT(submit(*engine, request).wait().tokens, Each(0));
  request.sampling.logit_bias = {{511, 100}};
  EXPECT_THAT(submit(*engine, request).wait().tokens, Each(511));
}

TEST(LogitBias, TokensAreTheSameInAllSwitchCombinationsAndRingDepths) {
  const Request request = drawn_request(5, 24);
  const auto blocking = make_engine(small_config(false, false, false));
  const auto expected = submit(*blocking, request).wait().tokens;
  Request plain = request;
  plain.sampling.logit_bias.clear();
  EXPECT_NE(submit(*blocking, plain).wait().tokens, expected);
  for (int bits = 1; bits < 8; ++bits) {
    for (const int64_t ring_size : {2, 4}) {
      if ((bits & 4) == 0 && ring_size != 2) continue;
      const auto config =
          small_config((bits & 1) != 0, (bits & 2) != 0, (bits & 4) != 0, ring_size);
      EXPECT_EQ(submit(*make_engine(config), request).wait().tokens, expected)
          << "combination " << bits << ", ring " << ring_size;
    }
  }
  const auto fake = make_engine(small_config(true, true, true), std::make_shared<FakeDevice>());
  EXPECT_EQ(submit(*fake, request).wait().tokens, expected);
}

// 12 sequences of up to 124 tokens want 93 pages; 1 MiB of f32 KV is 64. Every other one is biased.
TEST(LogitBias, BatchAndPreemptionDoNotChangeTokens) {
  auto config = small_config(true, true, true);
  config.engine.kv_type = "f32";
  config.engine.parallel = 12;
  config.engine.kv_cache_mb = 1;
  const auto engine = make_engine(config);
  const auto request = [](int32_t i) {
    Request out = drawn_request(i, 120);
    if (i % 2 == 1) out.sampling.logit_bias.clear();
    return out;
  };
  std::vector<std::vector<int32_t>> alone;
  std::vector<Submitted> together;
  for (int32_t i = 0; i < 12; ++i) alone.push_back(submit(*engine, request(i)).wait().tokens);
  EXPECT_EQ(engine->statistics().preemptions_total, 0U);
  for (int32_t i = 0; i < 12; ++i) together.push_back(submit(*engine, request(i)));
  for (size_t i = 0; i < 12; ++i) EXPECT_EQ(together[i].wait().tokens, alone[i]) << i;
  EXPECT_GT(engine->statistics().preemptions_total, 0U);
}

TEST(LogitBias, WhatIsOutOfRangeIsRefusedWithTheNumbers) {
  const auto engine = make_engine(small_config(true, true, true));
  const auto message = [&](std::vector<LogitBias> biases) {
    try {
      submit(*engine, biased_request(std::move(biases)));
    } catch (const RequestError& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };
  EXPECT_THAT(message({{3, 1}, {4, 100.5F}}), HasSubstr("token 4 = 100.5"));
  EXPECT_THAT(message({{3, -101}}), HasSubstr("-101"));
  EXPECT_THAT(message({{3, std::nanf("")}}), HasSubstr("[-100, 100]"));
  EXPECT_THAT(message({{512, 1}}), HasSubstr("512"));
  EXPECT_THAT(message({{-1, 1}}), HasSubstr("token id -1"));
  EXPECT_THAT(message({{7, 1}, {9, 1}, {7, 2}}), HasSubstr("token 7 twice"));
  std::vector<LogitBias> many;
  for (int32_t i = 0; i <= 1024; ++i) many.push_back({i, 0});
  EXPECT_THAT(message(many), HasSubstr("1025"));
  EXPECT_EQ(message({{0, -100}, {511, 100}}), "accepted");
}

}  // namespace
}  // namespace krserve::engine
