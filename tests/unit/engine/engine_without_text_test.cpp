// The engine of a build without the tokenizer crate: token ids go in and come out, text is refused.
#include <gtest/gtest.h>

#include "base/error.h"
#include "support/engine_client.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace krserve::engine {
namespace {

using test::golden_ids;
using test::greedy_request;
using test::small_config;
using test::submit;

constexpr const char* kModel = "qwen2-q4-g64";

std::unique_ptr<Engine> make_engine() {
  return Engine::create(small_config(true, true, true), test::golden_dir(kModel));
}

TEST(EngineWithoutText, TokensComeWithoutText) {
  const auto engine = make_engine();
  const auto reply =
      submit(*engine, greedy_request(golden_ids(kModel, "prompt0.input_ids"), 16)).wait();
  EXPECT_EQ(reply.tokens, golden_ids(kModel, "prompt0.greedy_ids"));
  EXPECT_EQ(reply.text, "");
}

TEST(EngineWithoutText, TextIsRefusedWithTheReason) {
  const auto engine = make_engine();
  try {
    engine->tokenizer().encode("hello", true);
    FAIL() << "a text became tokens";
  } catch (const TextError& error) {
    EXPECT_NE(std::string(error.what()).find("this build has no tokenizer"), std::string::npos);
  }
  EXPECT_THROW(engine->chat_template().render("[]"), TextError);
}

TEST(EngineWithoutText, StopStringsAreRefused) {
  const auto engine = make_engine();
  auto request = greedy_request({1, 2}, 4);
  request.stop = {"x"};
  EXPECT_THROW(submit(*engine, request), RequestError);
}

}  // namespace
}  // namespace krserve::engine
