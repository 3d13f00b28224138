#include "server/openai/chat_request.h"

#include <gmock/gmock.h>

#include <map>
#include <nlohmann/json.hpp>

#include "server/openai/api_error.h"

namespace krserve::server {
namespace {

using Json = nlohmann::json;

std::string body(const std::string& extra) {
  return R"({"messages":[{"role":"user","content":"hi"}])" + (extra.empty() ? "" : "," + extra) +
         "}";
}

Json messages_of(const std::string& messages) {
  return Json::parse(parse_chat_request(R"({"messages":)" + messages + "}").messages_json);
}

struct Refusal {
  const char* body;
  const char* param;
  const char* code;
};

void PrintTo(const Refusal& refusal, std::ostream* out) {
  *out << refusal.body;
}

class ChatRefusal : public ::testing::TestWithParam<Refusal> {};

TEST_P(ChatRefusal, IsA400ThatNamesTheField) {
  try {
    parse_chat_request(GetParam().body);
    FAIL() << "accepted";
  } catch (const ApiError& error) {
    EXPECT_EQ(error.status(), 400);
    EXPECT_EQ(error.param(), GetParam().param);
    EXPECT_EQ(error.code(), GetParam().code);
    EXPECT_FALSE(error.message().empty());
  }
}

#define KR_USER R"("messages":[{"role":"user","content":"hi"}])"

INSTANTIATE_TEST_SUITE_P(
    Messages, ChatRefusal,
    ::testing::Values(Refusal{R"({})", "messages", "missing_required_parameter"},
                      Refusal{R"({"messages":null})", "messages", "missing_required_parameter"},
                      Refusal{R"({"messages":"hi"})", "messages", "invalid_type"},
                      Refusal{R"({"messages":[]})", "messages", "invalid_value"},
                      Refusal{R"({"messages":["hi"]})", "messages[0]", "invalid_type"},
                      Refusal{R"({"messages":[{"content":"x"}]})", "messages[0].role",
                              "missing_required_parameter"},
                      Refusal{R"({"messages":[{"role":1,"content":"x"}]})", "messages[0].role",
                              "invalid_type"},
                      Refusal{R"({"messages":[{"role":"boss","content":"x"}]})", "messages[0].role",
                              "invalid_value"},
                      Refusal{R"({"messages":[{"role":"user"}]})", "messages[0].content",
                              "missing_required_parameter"},
                      Refusal{R"({"messages":[{"role":"user","content":5}]})",
                              "messages[0].content", "invalid_type"},
                      Refusal{R"({"messages":[{"role":"user","content":[5]}]})",
                              "messages[0].content[0]", "invalid_type"},
                      Refusal{R"({"messages":[{"role":"user","content":[{"type":"text"}]}]})",
                              "messages[0].content[0].text", "missing_required_parameter"},
                      Refusal{R"({"messages":[{"role":"user","content":[{"type":"image_url"}]}]})",
                              "messages[0].content[0].type", "unsupported_parameter"},
                      Refusal{R"({"messages":[{"role":"assistant","content":null}]})",
                              "messages[0].content", "missing_required_parameter"},
                      Refusal{R"({"messages":[{"role":"user","content":"x","name":3}]})",
                              "messages[0].name", "invalid_type"}));

INSTANTIATE_TEST_SUITE_P(
    Values, ChatRefusal,
    ::testing::Values(
        Refusal{"{" KR_USER R"(,"model":3})", "model", "invalid_type"},
        Refusal{"{" KR_USER R"(,"n":0})", "n", "invalid_value"},
        Refusal{"{" KR_USER R"(,"n":9})", "n", "invalid_value"},
        Refusal{"{" KR_USER R"(,"n":1.5})", "n", "invalid_type"},
        Refusal{"{" KR_USER R"(,"temperature":"0"})", "temperature", "invalid_type"},
        Refusal{"{" KR_USER R"(,"temperature":true})", "temperature", "invalid_type"},
        Refusal{"{" KR_USER R"(,"temperature":-0.1})", "temperature", "invalid_value"},
        Refusal{"{" KR_USER R"(,"temperature":2.1})", "temperature", "invalid_value"},
        Refusal{"{" KR_USER R"(,"top_p":0})", "top_p", "invalid_value"},
        Refusal{"{" KR_USER R"(,"top_p":1.1})", "top_p", "invalid_value"},
        Refusal{"{" KR_USER R"(,"top_k":-2})", "top_k", "invalid_value"},
        Refusal{"{" KR_USER R"(,"min_p":1})", "min_p", "invalid_value"},
        Refusal{"{" KR_USER R"(,"repetition_penalty":0})", "repetition_penalty", "invalid_value"},
        Refusal{"{" KR_USER R"(,"presence_penalty":2.5})", "presence_penalty", "invalid_value"},
        Refusal{"{" KR_USER R"(,"frequency_penalty":-3})", "frequency_penalty", "invalid_value"},
        Refusal{"{" KR_USER R"(,"seed":1.5})", "seed", "invalid_type"},
        Refusal{"{" KR_USER R"(,"seed":18446744073709551615})", "seed", "invalid_value"},
        Refusal{"{" KR_USER R"(,"max_tokens":0})", "max_tokens", "invalid_value"},
        Refusal{"{" KR_USER R"(,"max_tokens":-1})", "max_tokens", "invalid_value"},
        Refusal{"{" KR_USER R"(,"max_tokens":"5"})", "max_tokens", "invalid_type"},
        Refusal{"{" KR_USER R"(,"max_completion_tokens":0})", "max_completion_tokens",
                "invalid_value"},
        Refusal{"{" KR_USER R"(,"max_tokens":5,"max_completion_tokens":6})",
                "max_completion_tokens", "invalid_value"},
        Refusal{"{" KR_USER R"(,"stop":5})", "stop", "invalid_type"},
        Refusal{"{" KR_USER R"(,"stop":""})", "stop", "invalid_value"},
        Refusal{"{" KR_USER R"(,"stop":["a",5]})", "stop[1]", "invalid_type"},
        Refusal{"{" KR_USER
                R"(,"stop":["1","2","3","4","5","6","7","8","9","a","b","c","d","e","f","g","h"]})",
                "stop", "invalid_value"},
        Refusal{"{" KR_USER R"(,"stop_token_ids":5})", "stop_token_ids", "invalid_type"},
        Refusal{"{" KR_USER R"(,"stop_token_ids":[-1]})", "stop_token_ids[0]", "invalid_value"},
        Refusal{"{" KR_USER R"(,"stop_token_ids":[1.5]})", "stop_token_ids[0]", "invalid_type"},
        Refusal{"{" KR_USER R"(,"ignore_eos":1})", "ignore_eos", "invalid_type"},
        Refusal{"{" KR_USER R"(,"logit_bias":[5]})", "logit_bias", "invalid_type"},
        Refusal{"{" KR_USER R"(,"logit_bias":{"5":"1"}})", "logit_bias.5", "invalid_type"},
        Refusal{"{" KR_USER R"(,"logit_bias":{"5":null}})", "logit_bias.5", "invalid_type"},
        Refusal{"{" KR_USER R"(,"logit_bias":{"5":true}})", "logit_bias.5", "invalid_type"},
        Refusal{"{" KR_USER R"(,"logit_bias":{"1":1,"5":100.1}})", "logit_bias.5", "invalid_value"},
        Refusal{"{" KR_USER R"(,"logit_bias":{"5":-101}})", "logit_bias.5", "invalid_value"},
        Refusal{"{" KR_USER R"(,"logit_bias":{"":1}})", "logit_bias", "invalid_value"},
        Refusal{"{" KR_USER R"(,"logit_bias":{"-1":1}})", "logit_bias", "invalid_value"},
        Refusal{"{" KR_USER R"(,"logit_bias":{"+1":1}})", "logit_bias", "invalid_value"},
        Refusal{"{" KR_USER R"(,"logit_bias":{" 1":1}})", "logit_bias", "invalid_value"},
        Refusal{"{" KR_USER R"(,"logit_bias":{"1.0":1}})", "logit_bias", "invalid_value"},
        Refusal{"{" KR_USER R"(,"logit_bias":{"1":1,"01":2}})", "logit_bias", "invalid_value"},
        Refusal{"{" KR_USER R"(,"logit_bias":{"00":1}})", "logit_bias", "invalid_value"},
        Refusal{"{" KR_USER R"(,"logit_bias":{"the":1}})", "logit_bias", "invalid_value"},
        Refusal{"{" KR_USER R"(,"logit_bias":{"2147483648":1}})", "logit_bias", "invalid_value"},
        Refusal{"{" KR_USER R"(,"stream":"yes"})", "stream", "invalid_type"},
        Refusal{"{" KR_USER R"(,"stream_options":{"include_usage":true}})", "stream_options",
                "invalid_value"},
        Refusal{"{" KR_USER R"(,"stream":true,"stream_options":{"include_usage":1}})",
                "stream_options.include_usage", "invalid_type"},
        Refusal{"{" KR_USER R"(,"stream":true,"stream_options":{"usage":true}})",
                "stream_options.usage", "unknown_parameter"},
        Refusal{"{" KR_USER R"(,"chat_template_kwargs":[]})", "chat_template_kwargs",
                "invalid_type"}));

INSTANTIATE_TEST_SUITE_P(
    Unsupported, ChatRefusal,
    ::testing::Values(
        Refusal{"{" KR_USER R"(,"temprature":0})", "temprature", "unknown_parameter"},
        Refusal{"{" KR_USER R"(,"best_of":2})", "best_of", "unknown_parameter"},
        Refusal{"{" KR_USER R"(,"logprobs":true})", "logprobs", "unsupported_parameter"},
        Refusal{"{" KR_USER R"(,"top_logprobs":2})", "top_logprobs", "unsupported_parameter"},
        Refusal{"{" KR_USER R"(,"tools":[{"type":"function"}]})", "tools", "unsupported_parameter"},
        Refusal{"{" KR_USER R"(,"tools":[{"type":"function"}],"tool_choice":"auto"})",
                "tool_choice", "unsupported_parameter"},
        Refusal{"{" KR_USER R"(,"tool_choice":"required"})", "tool_choice",
                "unsupported_parameter"},
        Refusal{"{" KR_USER R"(,"functions":[{"name":"f"}]})", "functions",
                "unsupported_parameter"},
        Refusal{"{" KR_USER R"(,"response_format":{"type":"json_object"}})", "response_format",
                "unsupported_parameter"},
        Refusal{"{" KR_USER R"(,"response_format":{}})", "response_format.type",
                "missing_required_parameter"},
        Refusal{"{" KR_USER R"(,"modalities":["audio"]})", "modalities", "unsupported_parameter"},
        Refusal{"{" KR_USER R"(,"reasoning_effort":"low"})", "reasoning_effort",
                "unsupported_parameter"}));

TEST(ChatRequest, DefaultsAreOpenAis) {
  const ChatRequest request = parse_chat_request(body(""));
  EXPECT_EQ(request.options.sequence.sampling.temperature, 1.0F);
  EXPECT_EQ(request.options.sequence.max_tokens, 0U);
  EXPECT_EQ(request.options.choices, 1U);
  EXPECT_FALSE(request.options.stream);
  EXPECT_FALSE(request.options.sequence.sampling.seed.has_value());
}

TEST(ChatRequest, EveryValueArrives) {
  const ChatRequest request = parse_chat_request(body(
      R"("model":"m","n":3,"temperature":0.5,"top_p":0.9,"top_k":40,"min_p":0.1,
         "repetition_penalty":1.1,"presence_penalty":-1,"frequency_penalty":2,"seed":-7,
         "stop":["a","b"],"stop_token_ids":[5,6],"ignore_eos":true,"max_completion_tokens":99,
         "stream":true,"stream_options":{"include_usage":true},
         "chat_template_kwargs":{"enable_thinking":false})"));
  const CommonOptions& options = request.options;
  const engine::SamplingParams& sampling = options.sequence.sampling;
  EXPECT_EQ(options.model, "m");
  EXPECT_EQ(options.choices, 3U);
  EXPECT_FLOAT_EQ(sampling.temperature, 0.5F);
  EXPECT_FLOAT_EQ(sampling.top_p, 0.9F);
  EXPECT_EQ(sampling.top_k, 40U);
  EXPECT_FLOAT_EQ(sampling.min_p, 0.1F);
  EXPECT_FLOAT_EQ(sampling.repetition_penalty, 1.1F);
  EXPECT_FLOAT_EQ(sampling.presence_penalty, -1.0F);
  EXPECT_FLOAT_EQ(sampling.frequency_penalty, 2.0F);
  EXPECT_EQ(sampling.seed, static_cast<uint64_t>(-7));
  EXPECT_THAT(options.sequence.stop, ::testing::ElementsAre("a", "b"));
  EXPECT_THAT(options.sequence.stop_token_ids, ::testing::ElementsAre(5, 6));
  EXPECT_TRUE(options.sequence.ignore_eos);
  EXPECT_EQ(options.sequence.max_tokens, 99U);
  EXPECT_TRUE(options.stream);
  EXPECT_TRUE(options.include_usage);
  EXPECT_EQ(Json::parse(request.template_kwargs_json), (Json{{"enable_thinking", false}}));
}

TEST(ChatRequest, LogitBiasIsAMapOfTokenIds) {
  const auto biases = [](const std::string& map) {
    std::map<int32_t, float> out;
    const ChatRequest request = parse_chat_request(body(R"("logit_bias":)" + map));
    for (const engine::LogitBias& entry : request.options.sequence.sampling.logit_bias) {
      EXPECT_TRUE(out.emplace(entry.token, entry.bias).second) << entry.token << " twice";
    }
    return out;
  };
  using Map = std::map<int32_t, float>;
  EXPECT_EQ(biases(R"({"0":-100,"17":100,"2147483647":0.5})"),
            (Map{{0, -100}, {17, 100}, {2147483647, 0.5F}}));
  EXPECT_EQ(biases("{}"), Map());
  EXPECT_EQ(biases("null"), Map());
  // JSON with a key twice is its last value, as in other parsers.
  EXPECT_EQ(biases(R"({"5":1,"5":2})"), (Map{{5, 2}}));
}

TEST(ChatRequest, MoreThan1024BiasesAreRefusedWithTheNumbers) {
  Json most = Json::object();
  for (int token = 0; token < 1024; ++token) most[std::to_string(token)] = 1;
  const ChatRequest request = parse_chat_request(body(R"("logit_bias":)" + most.dump()));
  EXPECT_EQ(request.options.sequence.sampling.logit_bias.size(), 1024U);
  most["1024"] = 1;
  try {
    parse_chat_request(body(R"("logit_bias":)" + most.dump()));
    FAIL() << "accepted";
  } catch (const ApiError& error) {
    EXPECT_EQ(error.param(), "logit_bias");
    EXPECT_THAT(error.message(), ::testing::HasSubstr("1025 entries are more than 1024"));
  }
}

TEST(ChatRequest, FieldsThatDoNotChangeTheOutputAreIgnored) {
  EXPECT_NO_THROW(parse_chat_request(
      body(R"("user":"u","metadata":{},"store":true,"logprobs":false,"logit_bias":{},"tools":[],
              "tool_choice":"auto","response_format":{"type":"text"},"modalities":["text"],
              "audio":null,"unheard_of":null,"stop":null,"temperature":null)")));
}

TEST(ChatRequest, ToolsAreAcceptedWhenNoneMayBeCalled) {
  EXPECT_NO_THROW(
      parse_chat_request(body(R"("tools":[{"type":"function"}],"tool_choice":"none")")));
}

TEST(ChatRequest, TextPartsBecomeOneString) {
  const Json messages = messages_of(
      R"([{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}])");
  EXPECT_EQ(messages[0]["content"], "a\nb");
}

TEST(ChatRequest, DeveloperBecomesSystem) {
  EXPECT_EQ(messages_of(R"([{"role":"developer","content":"x"}])")[0]["role"], "system");
}

TEST(ChatRequest, ToolHistoryIsKept) {
  const Json messages = messages_of(
      R"([{"role":"assistant","content":null,"tool_calls":[{"id":"1"}]},
          {"role":"tool","tool_call_id":"1","content":"42"}])");
  EXPECT_EQ(messages[0]["content"], "");
  EXPECT_EQ(messages[0]["tool_calls"][0]["id"], "1");
  EXPECT_EQ(messages[1]["tool_call_id"], "1");
}

TEST(ChatRequest, SeedsOfChoicesDifferAndTheFirstIsTheGivenOne) {
  EXPECT_EQ(choice_seed(7, 0), 7U);
  EXPECT_NE(choice_seed(7, 1), choice_seed(7, 2));
  EXPECT_NE(choice_seed(7, 1), choice_seed(8, 1));
  EXPECT_EQ(choice_seed(7, 1), choice_seed(7, 1));
}

}  // namespace
}  // namespace krserve::server
