#include "server/openai/completion_request.h"

#include <gmock/gmock.h>

#include "server/openai/api_error.h"

namespace krserve::server {
namespace {

using ::testing::ElementsAre;
using Tokens = std::vector<int32_t>;

std::vector<Prompt> prompts_of(const std::string& prompt) {
  return parse_completion_request(R"({"prompt":)" + prompt + "}").prompts;
}

ApiError refusal(const std::string& body) {
  try {
    parse_completion_request(body);
  } catch (const ApiError& error) {
    return error;
  }
  ADD_FAILURE() << "accepted: " << body;
  return ApiError(0, "accepted");
}

TEST(CompletionRequest, PromptHasFourForms) {
  EXPECT_THAT(prompts_of(R"("a")"), ElementsAre(Prompt("a")));
  EXPECT_THAT(prompts_of(R"(["a","b"])"), ElementsAre(Prompt("a"), Prompt("b")));
  EXPECT_THAT(prompts_of("[1,2]"), ElementsAre(Prompt(Tokens{1, 2})));
  EXPECT_THAT(prompts_of("[[1,2],[3]]"), ElementsAre(Prompt(Tokens{1, 2}), Prompt(Tokens{3})));
}

TEST(CompletionRequest, MaxTokensIsSixteenUnlessGiven) {
  EXPECT_EQ(parse_completion_request(R"({"prompt":"a"})").options.sequence.max_tokens, 16U);
  EXPECT_EQ(
      parse_completion_request(R"({"prompt":"a","max_tokens":3})").options.sequence.max_tokens, 3U);
}

TEST(CompletionRequest, BadPromptsAreRefusedByName) {
  const std::vector<std::pair<const char*, const char*>> bad = {
      {R"({})", "prompt"},
      {R"({"prompt":5})", "prompt"},
      {R"({"prompt":{}})", "prompt"},
      {R"({"prompt":[]})", "prompt"},
      {R"({"prompt":[[]]})", "prompt[0]"},
      {R"({"prompt":["a",1]})", "prompt[1]"},
      {R"({"prompt":[1,"a"]})", "prompt"},
      {R"({"prompt":[[1],"a"]})", "prompt[1]"},
      {R"({"prompt":[-1]})", "prompt"},
      {R"({"prompt":[1.5]})", "prompt"},
      {R"({"prompt":[3000000000]})", "prompt"},
      {R"({"prompt":[true]})", "prompt[0]"}};
  for (const auto& [body, param] : bad) {
    const ApiError error = refusal(body);
    EXPECT_EQ(error.status(), 400) << body;
    EXPECT_EQ(error.param(), param) << body;
  }
}

TEST(CompletionRequest, UnsupportedFieldsAreRefusedByName) {
  EXPECT_EQ(refusal(R"({"prompt":"a","suffix":"b"})").param(), "suffix");
  EXPECT_EQ(refusal(R"({"prompt":"a","best_of":3})").param(), "best_of");
  EXPECT_EQ(refusal(R"({"prompt":"a","logprobs":0})").param(), "logprobs");
  EXPECT_EQ(refusal(R"({"prompt":"a","echo":"yes"})").param(), "echo");
  EXPECT_EQ(refusal(R"({"prompt":"a","messages":[]})").param(), "messages");
}

TEST(CompletionRequest, TooManySequencesAreRefused) {
  std::string prompts = R"("a")";
  for (int i = 0; i < 10; ++i) prompts += R"(,"a")";
  EXPECT_EQ(refusal(R"({"n":8,"prompt":[)" + prompts + "]}").param(), "prompt");
}

}  // namespace
}  // namespace krserve::server
