// The engine's text: needs the tokenizer crate.
#include <gtest/gtest.h>

#include "support/engine_client.h"
#include "text/tokenizer.h"

namespace krserve::engine {
namespace {

using test::golden_ids;
using test::greedy_request;
using test::small_config;
using test::submit;

constexpr const char* kModel = "qwen2-q4-g64";

TEST(EngineText, IsWhatTheTokenizerMakesOfTheTokens) {
  const auto engine = Engine::create(small_config(true, true, true), test::golden_dir(kModel));
  const auto reply =
      submit(*engine, greedy_request(golden_ids(kModel, "prompt0.input_ids"), 64)).wait();
  EXPECT_EQ(reply.text, engine->tokenizer().decode(reply.tokens, true));
}

TEST(EngineText, StopStringEndsTheTextBeforeIt) {
  const auto engine = Engine::create(small_config(true, true, true), test::golden_dir(kModel));
  auto request = greedy_request(golden_ids(kModel, "prompt0.input_ids"), 64);
  const auto whole = submit(*engine, request).wait();
  ASSERT_GT(whole.text.size(), 4U);
  const std::string stop = whole.text.substr(whole.text.size() / 2, 2);
  request.stop = {stop};
  const auto reply = submit(*engine, request).wait();
  EXPECT_EQ(reply.text, whole.text.substr(0, whole.text.find(stop)));
  EXPECT_EQ(reply.last.finish, FinishReason::kStop);
}

}  // namespace
}  // namespace krserve::engine
