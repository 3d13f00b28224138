#include <gmock/gmock.h>

#include <thread>

#include "unit/server/server_fixture.h"

namespace krserve::test {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(ServerTest, ChatAnswerHasTextUsageAndPrompt) {
  fake.pieces = {"4", "2"};
  HttpClient client(start());
  const Answer answer = client.request("POST", kChat, chat(R"(,"model":"fake","seed":3)"));
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.json()["choices"][0]["message"]["content"], "42");
  EXPECT_EQ(answer.json()["usage"]["completion_tokens"], 2);
  EXPECT_EQ(answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"], 2);
  const engine::Request request = fake.request(1);
  EXPECT_EQ(request.sampling.seed, 3U);
  EXPECT_EQ(fake.tokenizer().decode(request.prompt, false), "<user>hi<assistant>");
}

TEST_F(ServerTest, StreamEndsWithDoneAndTheConnectionStaysUsable) {
  fake.pieces = {"4", "2"};
  HttpClient client(start());
  const Answer answer = client.request(
      "POST", kChat, chat(R"(,"stream":true,"stream_options":{"include_usage":true})"));
  EXPECT_THAT(answer.header("Content-Type"), HasSubstr("text/event-stream"));
  EXPECT_THAT(answer.body, HasSubstr(R"("delta":{"content":"4"})"));
  EXPECT_THAT(answer.body, HasSubstr(R"("completion_tokens":2)"));
  EXPECT_THAT(answer.body, EndsWith("data: [DONE]\n\n"));
  EXPECT_EQ(client.request("GET", "/health").status, 200);
}

TEST_F(ServerTest, EventsAreSentWhileTheSequenceRuns) {
  HttpClient client(start());
  client.send(HttpClient::message("POST", kChat, chat(R"(,"stream":true)")));
  ASSERT_TRUE(fake.wait_submitted(1));
  fake.say(1, "first");
  EXPECT_THAT(client.read_through("first"), HasSubstr("200 OK"));
  fake.say(1, "second");
  client.read_through("second");
  fake.finish(1);
  client.read_through("data: [DONE]\n\n");
}

TEST_F(ServerTest, Http10StreamEndsWithTheConnection) {
  fake.pieces = {"x"};
  HttpClient client(start());
  const std::string body = chat(R"(,"stream":true)");
  client.send("POST /v1/chat/completions HTTP/1.0\r\nContent-Length: " +
              std::to_string(body.size()) + "\r\n\r\n" + body);
  const std::string all = client.read_to_end();
  EXPECT_THAT(all, Not(HasSubstr("chunked")));
  EXPECT_THAT(all, EndsWith("data: [DONE]\n\n"));
}

TEST_F(ServerTest, SeveralChoicesAreSeveralSequencesWithDerivedSeeds) {
  fake.pieces = {"x"};
  HttpClient client(start());
  const Answer answer = client.request("POST", kChat, chat(R"(,"n":3,"seed":3)"));
  EXPECT_EQ(answer.json()["choices"].size(), 3U);
  EXPECT_EQ(answer.json()["choices"][2]["index"], 2);
  EXPECT_EQ(fake.submitted(), 3U);
  EXPECT_EQ(fake.request(1).sampling.seed, 3U);
  EXPECT_NE(fake.request(2).sampling.seed, fake.request(3).sampling.seed);
}

TEST_F(ServerTest, LogitBiasReachesEverySequenceOfChatAndCompletions) {
  fake.pieces = {"x"};
  HttpClient client(start());
  const std::string bias = R"(,"n":2,"logit_bias":{"17":-100,"3":2.5})";
  EXPECT_EQ(client.request("POST", kChat, chat(bias)).status, 200);
  EXPECT_EQ(client.request("POST", kCompletions, R"({"prompt":"hi")" + bias + "}").status, 200);
  ASSERT_EQ(fake.submitted(), 4U);
  for (const RequestId id : {1, 2, 3, 4}) {
    std::map<int32_t, float> given;
    for (const auto& entry : fake.request(id).sampling.logit_bias) given[entry.token] = entry.bias;
    EXPECT_EQ(given, (std::map<int32_t, float>{{3, 2.5F}, {17, -100}})) << "sequence " << id;
  }
}

TEST_F(ServerTest, LogitBiasOutsideTheVocabularyIsA400WithTheNumbers) {
  fake.pieces = {"x"};
  HttpClient client(start());
  const uint32_t vocab = fake.model().vocab_size;
  const auto bias = [](uint32_t token) {
    return R"(,"logit_bias":{")" + std::to_string(token) + R"(":1})";
  };
  for (const std::string& body : {chat(bias(vocab)), chat(bias(INT32_MAX))}) {
    const Answer answer = client.request("POST", kChat, body);
    EXPECT_EQ(answer.status, 400);
    EXPECT_EQ(answer.json()["error"]["param"], "logit_bias");
    EXPECT_THAT(answer.json()["error"]["message"].get<std::string>(),
                HasSubstr("vocabulary of " + std::to_string(vocab) + " tokens"));
  }
  const std::string completion = R"({"prompt":"hi")";
  EXPECT_EQ(client.request("POST", kCompletions, completion + bias(vocab) + "}").status, 400);
  EXPECT_EQ(fake.submitted(), 0U);
  EXPECT_EQ(client.request("POST", kCompletions, completion + bias(vocab - 1) + "}").status, 200);
}

TEST_F(ServerTest, CompletionsTakeEveryFormOfPrompt) {
  fake.pieces = {"x"};
  HttpClient client(start());
  for (const char* prompt : {R"("hi")", R"(["hi","ho"])", "[5,6]", "[[5,6],[7]]"}) {
    const Answer answer =
        client.request("POST", kCompletions, std::string(R"({"prompt":)") + prompt + "}");
    EXPECT_EQ(answer.status, 200) << answer.body;
  }
  EXPECT_EQ(fake.submitted(), 6U);
  EXPECT_EQ(fake.request(4).prompt, (std::vector<int32_t>{5, 6}));
  const Answer echo = client.request("POST", kCompletions, R"({"prompt":"hi","echo":true})");
  EXPECT_EQ(echo.json()["choices"][0]["text"], "hix");
}

TEST_F(ServerTest, RequestsThatTheModelCannotServeAreRefusedBeforeTheEngine) {
  HttpClient client(start());
  const auto error = [&](const std::string& path, const std::string& body, int status) {
    const Answer answer = client.request("POST", path, body);
    EXPECT_EQ(answer.status, status) << answer.body;
    return answer.json()["error"];
  };
  EXPECT_EQ(error(kChat, chat(R"(,"model":"gpt-4")"), 404)["code"], "model_not_found");
  EXPECT_EQ(error(kChat, "{", 400)["code"], "invalid_json");
  EXPECT_EQ(error(kCompletions, R"({"prompt":""})", 400)["param"], "prompt");
  EXPECT_EQ(error(kCompletions, R"({"prompt":[999999]})", 400)["param"], "prompt");
  EXPECT_EQ(error(kChat, R"({"messages":[{"role":"tool","content":"x"}]})", 400)["param"],
            "messages");
  const auto too_long = error(kCompletions, R"({"prompt":[1,2,3,4,5],"max_tokens":60})", 400);
  EXPECT_EQ(too_long["code"], "context_length_exceeded");
  for (const char* number : {"64", "65", "5", "60"}) {
    EXPECT_THAT(too_long["message"], HasSubstr(number));
  }
  EXPECT_EQ(fake.submitted(), 0U);
}

TEST_F(ServerTest, PromptThatFillsTheContextExactlyIsAccepted) {
  fake.pieces = {"x"};
  HttpClient client(start());
  const std::string body = R"({"prompt":[1,2,3,4,5],"max_tokens":59})";
  EXPECT_EQ(client.request("POST", kCompletions, body).status, 200);
}

TEST_F(ServerTest, ModelWithoutATemplateStillCompletes) {
  fake.has_template = false;
  fake.pieces = {"x"};
  HttpClient client(start());
  EXPECT_EQ(client.request("POST", kChat, chat()).json()["error"]["code"], "no_chat_template");
  EXPECT_EQ(client.request("POST", kCompletions, R"({"prompt":"hi"})").status, 200);
}

TEST_F(ServerTest, FullQueueIs429WithRetryAfter) {
  fake.queue_full = true;
  HttpClient client(start());
  const Answer answer = client.request("POST", kChat, chat());
  EXPECT_EQ(answer.status, 429);
  EXPECT_NE(answer.header("Retry-After"), "");
}

TEST_F(ServerTest, UnexpectedExceptionIs500AndTheServerGoesOn) {
  fake.submit_failure = "boom";
  HttpClient client(start());
  EXPECT_EQ(client.request("POST", kChat, chat()).status, 500);
  EXPECT_EQ(client.request("GET", "/health").status, 200);
}

TEST_F(ServerTest, SequenceThatFailsBeforeTheFirstEventIs500InAStreamToo) {
  HttpClient client(start());
  for (const char* extra : {"", R"(,"stream":true)"}) {
    client.send(HttpClient::message("POST", kChat, chat(extra)));
    const RequestId id = fake.submitted() + 1;
    ASSERT_TRUE(fake.wait_submitted(*extra == 0 ? 1 : 2));
    fake.finish(*extra == 0 ? 1 : 2, FinishReason::kError, "NaN in the logits");
    const Answer answer = client.read_answer();
    EXPECT_EQ(answer.status, 500) << id;
    EXPECT_EQ(answer.json()["error"]["message"], "NaN in the logits");
  }
}

TEST_F(ServerTest, SequenceThatFailsLaterEndsTheStreamWithAnErrorEvent) {
  HttpClient client(start());
  client.send(HttpClient::message("POST", kChat, chat(R"(,"stream":true,"n":2)")));
  ASSERT_TRUE(fake.wait_submitted(2));
  fake.say(1, "begun");
  client.read_through("begun");
  fake.finish(1, FinishReason::kError, "NaN in the logits");
  EXPECT_THAT(client.read_through("0\r\n\r\n"), HasSubstr(R"(data: {"error":{"message":"NaN)"));
  EXPECT_TRUE(fake.wait_cancelled(2));
  EXPECT_EQ(client.request("GET", "/health").status, 200);
}

TEST_F(ServerTest, DisconnectCancelsAPlainRequest) {
  HttpClient client(start());
  client.send(HttpClient::message("POST", kChat, chat(R"(,"n":2)")));
  ASSERT_TRUE(fake.wait_submitted(2));
  client.close();
  EXPECT_TRUE(fake.wait_cancelled(1));
  EXPECT_TRUE(fake.wait_cancelled(2));
}

TEST_F(ServerTest, DisconnectCancelsAStreamWithinAFewEvents) {
  HttpClient client(start());
  client.send(HttpClient::message("POST", kChat, chat(R"(,"stream":true)")));
  ASSERT_TRUE(fake.wait_submitted(1));
  fake.say(1, "begun");
  client.read_through("begun");
  client.close();
  EXPECT_TRUE(fake.wait_cancelled(1));
  HttpClient other(port);
  EXPECT_THAT(other.request("GET", "/metrics").body,
              HasSubstr(R"({path="/v1/chat/completions",status="499"} 1)"));
}

TEST_F(ServerTest, ManyClientsAtOnceGetTheirOwnAnswers) {
  start();
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 64; ++i) {
    clients.push_back(std::make_unique<HttpClient>(port));
    const std::string body = R"({"prompt":[)" + std::to_string(i + 1) + R"(],"stream":true})";
    ASSERT_TRUE(clients.back()->send(HttpClient::message("POST", kCompletions, body)));
  }
  ASSERT_TRUE(fake.wait_submitted(64));
  for (RequestId id = 1; id <= 64; ++id) {
    const int32_t token = fake.request(id).prompt[0];
    fake.say(id, "answer " + std::to_string(token) + ".");
    fake.finish(id);
  }
  for (int i = 0; i < 64; ++i) {
    EXPECT_THAT(clients[static_cast<size_t>(i)]->read_answer().body,
                HasSubstr("answer " + std::to_string(i + 1) + "."));
  }
}

TEST_F(ServerTest, DrainFinishesWhatRunsAndRefusesTheRest) {
  start();
  HttpClient running(port);
  HttpClient idle(port);
  EXPECT_EQ(idle.request("GET", "/health").status, 200);
  running.send(HttpClient::message("POST", kChat, chat(R"(,"stream":true)")));
  ASSERT_TRUE(fake.wait_submitted(1));
  bool drained = false;
  std::thread drainer([&] { drained = server->drain(); });
  EXPECT_EQ(idle.read_to_end(), "");  // closed: it had no request
  while (HttpClient(port).connected()) std::this_thread::yield();
  fake.say(1, "last words");
  fake.finish(1);
  EXPECT_THAT(running.read_to_end(), HasSubstr("last words"));
  drainer.join();
  EXPECT_TRUE(drained);
}

TEST_F(ServerTest, DrainGivesUpAtItsLimitAndStopCancels) {
  config.drain_timeout_s = 0;
  start();
  HttpClient client(port);
  client.send(HttpClient::message("POST", kChat, chat(R"(,"stream":true)")));
  ASSERT_TRUE(fake.wait_submitted(1));
  EXPECT_FALSE(server->drain());
  server->stop();
  EXPECT_TRUE(fake.wait_cancelled(1));
  EXPECT_EQ(client.read_to_end(), "");
}

TEST_F(ServerTest, StopCancelsAndLateChunksAreHarmless) {
  start();
  HttpClient client(port);
  client.send(HttpClient::message("POST", kChat, chat()));
  ASSERT_TRUE(fake.wait_submitted(1));
  server.reset();
  EXPECT_TRUE(fake.wait_cancelled(1));
  fake.say(1, "late");
}

}  // namespace
}  // namespace krserve::test
