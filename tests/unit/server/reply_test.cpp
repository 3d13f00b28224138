#include "server/openai/reply.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

namespace krserve::server {
namespace {

using engine::Chunk;
using engine::FinishReason;
using Json = nlohmann::json;

ReplyOptions options(ReplyKind kind, bool stream, std::vector<std::string> prefixes = {""}) {
  return {.kind = kind,
          .model = "the \"model\"",
          .stream = stream,
          .include_usage = false,
          .choices_per_prompt = 1,
          .prefixes = std::move(prefixes)};
}

Chunk text_chunk(const std::string& text) {
  Chunk chunk;
  chunk.text = text;
  return chunk;
}

Chunk last_chunk(FinishReason reason, uint32_t prompt = 5, uint32_t completion = 3) {
  Chunk chunk;
  chunk.finish = reason;
  chunk.prompt_tokens = prompt;
  chunk.completion_tokens = completion;
  chunk.cached_tokens = 4;
  return chunk;
}

// Fails unless `events` is exactly a row of "data: X\n\n".
std::vector<std::string> payloads(std::string events) {
  std::vector<std::string> result;
  while (!events.empty()) {
    const size_t end = events.find("\n\n");
    if (!events.starts_with("data: ") || end == std::string::npos) {
      ADD_FAILURE() << "not an event: " << events;
      return result;
    }
    result.push_back(events.substr(6, end - 6));
    EXPECT_EQ(result.back().find('\n'), std::string::npos);
    events.erase(0, end + 2);
  }
  return result;
}

TEST(Reply, ChatStreamHasRoleContentReasonAndDone) {
  Reply reply(options(ReplyKind::kChat, true));
  reply.add(0, text_chunk("a\nb \"é\""));
  reply.add(0, last_chunk(FinishReason::kLength));
  const auto events = payloads(reply.take_events());
  ASSERT_EQ(events.size(), 4U);
  const Json role = Json::parse(events[0]);
  EXPECT_EQ(role["object"], "chat.completion.chunk");
  EXPECT_EQ(role["model"], "the \"model\"");
  EXPECT_TRUE(role["id"].get<std::string>().starts_with("chatcmpl-"));
  EXPECT_TRUE(role["created"].is_number_integer());
  EXPECT_TRUE(role["system_fingerprint"].is_string());
  EXPECT_FALSE(role.contains("usage"));
  EXPECT_EQ(role["choices"][0]["delta"], (Json{{"role", "assistant"}, {"content", ""}}));
  EXPECT_TRUE(role["choices"][0]["finish_reason"].is_null());
  EXPECT_EQ(Json::parse(events[1])["choices"][0]["delta"], (Json{{"content", "a\nb \"é\""}}));
  EXPECT_EQ(Json::parse(events[2])["choices"][0]["delta"], Json::object());
  EXPECT_EQ(Json::parse(events[2])["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(events[3], "[DONE]");
  EXPECT_TRUE(reply.finished());
  EXPECT_EQ(reply.take_events(), "");
}

TEST(Reply, UsageComesLastWithoutChoicesAndIsNullBefore) {
  ReplyOptions with_usage = options(ReplyKind::kChat, true);
  with_usage.include_usage = true;
  Reply reply(with_usage);
  reply.add(0, text_chunk("a"));
  reply.add(0, last_chunk(FinishReason::kStop));
  const auto events = payloads(reply.take_events());
  ASSERT_EQ(events.size(), 5U);
  for (size_t i = 0; i < 3; ++i) {
    const Json event = Json::parse(events[i]);
    EXPECT_TRUE(event.contains("usage") && event["usage"].is_null()) << events[i];
  }
  const Json usage = Json::parse(events[3]);
  EXPECT_EQ(usage["choices"], Json::array());
  EXPECT_EQ(usage["usage"], Json::parse(R"({"prompt_tokens":5,"completion_tokens":3,
      "total_tokens":8,"prompt_tokens_details":{"cached_tokens":4}})"));
}

TEST(Reply, ChatBodyHasMessageAndUsage) {
  Reply reply(options(ReplyKind::kChat, false));
  reply.add(0, text_chunk("4"));
  EXPECT_FALSE(reply.finished());
  reply.add(0, text_chunk("2"));
  reply.add(0, last_chunk(FinishReason::kStop));
  const Json body = Json::parse(reply.body());
  EXPECT_EQ(body["object"], "chat.completion");
  EXPECT_EQ(body["choices"][0]["message"]["role"], "assistant");
  EXPECT_EQ(body["choices"][0]["message"]["content"], "42");
  EXPECT_EQ(body["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(body["usage"]["total_tokens"], 8);
  EXPECT_EQ(reply.take_events(), "");
}

TEST(Reply, PromptTokensCountOncePerPromptAndOutputOncePerChoice) {
  ReplyOptions four = options(ReplyKind::kCompletion, false, {"", "", "", ""});
  four.choices_per_prompt = 2;
  Reply reply(four);
  for (size_t i = 0; i < 4; ++i) reply.add(i, last_chunk(FinishReason::kStop, i < 2 ? 5 : 7, 3));
  const Json usage = Json::parse(reply.body())["usage"];
  EXPECT_EQ(usage["prompt_tokens"], 12);
  EXPECT_EQ(usage["completion_tokens"], 12);
  EXPECT_EQ(usage["prompt_tokens_details"]["cached_tokens"], 8);
}

TEST(Reply, EchoIsInFrontOfTheText) {
  Reply plain(options(ReplyKind::kCompletion, false, {"1+1="}));
  plain.add(0, text_chunk("2"));
  plain.add(0, last_chunk(FinishReason::kStop));
  EXPECT_EQ(Json::parse(plain.body())["choices"][0]["text"], "1+1=2");

  Reply stream(options(ReplyKind::kCompletion, true, {"1+1="}));
  stream.add(0, text_chunk("2"));
  stream.add(0, text_chunk("!"));
  stream.add(0, last_chunk(FinishReason::kStop));
  const auto events = payloads(stream.take_events());
  ASSERT_EQ(events.size(), 4U);
  EXPECT_EQ(Json::parse(events[0])["choices"][0]["text"], "1+1=2");
  EXPECT_EQ(Json::parse(events[1])["choices"][0]["text"], "!");
  EXPECT_EQ(Json::parse(events[0])["object"], "text_completion");
}

TEST(Reply, DoneComesAfterTheLastOfSeveralChoices) {
  Reply reply(options(ReplyKind::kChat, true, {"", ""}));
  reply.add(1, last_chunk(FinishReason::kStop));
  EXPECT_THAT(reply.take_events(), ::testing::Not(::testing::HasSubstr("[DONE]")));
  reply.add(0, last_chunk(FinishReason::kStop));
  EXPECT_THAT(reply.take_events(), ::testing::EndsWith("data: [DONE]\n\n"));
}

TEST(Reply, FailedSequenceEndsTheStreamWithAnErrorEvent) {
  Reply reply(options(ReplyKind::kChat, true, {"", ""}));
  reply.add(0, text_chunk("a"));
  reply.take_events();
  Chunk failed = last_chunk(FinishReason::kError);
  failed.error = "NaN in the logits";
  reply.add(0, std::move(failed));
  ASSERT_TRUE(reply.error().has_value());
  EXPECT_EQ(reply.error()->status(), 500);
  EXPECT_TRUE(reply.finished());
  const auto events = payloads(reply.take_events());
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(Json::parse(events[0])["error"]["message"], "NaN in the logits");
  reply.add(1, text_chunk("late"));
  EXPECT_EQ(reply.take_events(), "");
}

TEST(Reply, InvalidUtf8FromTheEngineStillGivesValidJson) {
  Reply reply(options(ReplyKind::kChat, false));
  reply.add(0, text_chunk("\xff"));
  reply.add(0, last_chunk(FinishReason::kStop));
  EXPECT_EQ(Json::parse(reply.body())["choices"][0]["message"]["content"], "\xef\xbf\xbd");
}

}  // namespace
}  // namespace krserve::server
