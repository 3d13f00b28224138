#include "server/http/http_server.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include "base/error.h"
#include "unit/server/server_fixture.h"

namespace krserve::test {
namespace {

using ::testing::HasSubstr;

TEST_F(ServerTest, HealthFollowsTheEngine) {
  loaded = false;
  HttpClient client(start());
  Answer answer = client.request("GET", "/health");
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.json()["status"], "loading");
  loaded = true;
  answer = client.request("GET", "/health");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, R"({"status":"ok"})");
  fake.set_health(Health::kStalled);
  answer = client.request("GET", "/health");
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.json()["status"], "stalled");
  EXPECT_THAT(answer.json()["detail"], HasSubstr("ring"));
}

TEST_F(ServerTest, HeadHasTheLengthAndNoBody) {
  HttpClient client(start());
  const Answer answer = client.request("HEAD", "/health");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.header("Content-Length"), "15");
  EXPECT_EQ(client.request("GET", "/version").status, 200);
}

TEST_F(ServerTest, ModelsAreListed) {
  HttpClient client(start());
  const auto list = client.request("GET", "/v1/models").json();
  EXPECT_EQ(list["object"], "list");
  EXPECT_EQ(list["data"][0]["id"], "fake");
  EXPECT_EQ(list["data"][0]["created"], 1234);
  EXPECT_EQ(client.request("GET", "/v1/models/fake").json()["object"], "model");
  const Answer unknown = client.request("GET", "/v1/models/other");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_EQ(unknown.json()["error"]["code"], "model_not_found");
}

TEST_F(ServerTest, WhileLoadingGenerationIsRefusedAndMetricsAnswer) {
  loaded = false;
  HttpClient client(start());
  const Answer answer = client.request("POST", kChat, chat());
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(answer.json()["error"]["code"], "model_loading");
  EXPECT_NE(answer.header("Retry-After"), "");
  EXPECT_EQ(client.request("GET", "/metrics").status, 200);
}

TEST_F(ServerTest, StatusHasEveryComponent) {
  HttpClient client(start());
  const auto status = client.request("GET", "/status").json();
  for (const char* component : {"memory_pool", "blit_queue", "command_ring"}) {
    EXPECT_EQ(status["components"][component]["enabled"], false);
    EXPECT_EQ(status["components"][component]["grade"], "no data");
    EXPECT_TRUE(status["components"][component]["counters"].is_object());
  }
  EXPECT_EQ(status["health"], "ok");
  EXPECT_EQ(status["model"]["name"], "fake");
  EXPECT_EQ(status["process"]["pid"], getpid());
  EXPECT_GT(status["process"]["started_unix_ms"], 1'700'000'000'000);
  EXPECT_EQ(client.request("GET", "/status").json()["process"]["started_unix_ms"],
            status["process"]["started_unix_ms"]);
  loaded = false;
  EXPECT_EQ(client.request("GET", "/status").status, 503);
}

TEST_F(ServerTest, UnknownPathIs404AndWrongMethod405) {
  HttpClient client(start());
  EXPECT_EQ(client.request("GET", "/nothing").status, 404);
  const Answer answer = client.request("GET", kChat);
  EXPECT_EQ(answer.status, 405);
  EXPECT_EQ(answer.header("Allow"), "POST, OPTIONS");
}

TEST_F(ServerTest, OptionsNamesTheMethodsAndGrantsNoOrigin) {
  HttpClient client(start());
  const Answer answer = client.request("OPTIONS", kChat, "", "Origin: http://a\r\n");
  EXPECT_EQ(answer.status, 204);
  EXPECT_EQ(answer.header("Allow"), "POST, OPTIONS");
  EXPECT_EQ(answer.header("Access-Control-Allow-Origin"), "");
}

TEST_F(ServerTest, KeyIsNeededForEverythingButHealth) {
  config.api_key = "secret";
  fake.pieces = {"x"};
  start();
  for (const char* path : {"/v1/models", "/metrics", "/version"}) {
    HttpClient client(port);
    const Answer answer = client.request("GET", path);
    EXPECT_EQ(answer.status, 401) << path;
    EXPECT_EQ(answer.json()["error"]["code"], "invalid_api_key");
    EXPECT_EQ(client.request("GET", path, "", "Authorization: Bearer secret\r\n").status, 200);
  }
  HttpClient client(port);
  EXPECT_EQ(client.request("GET", "/health").status, 200);
  EXPECT_EQ(client.request("POST", kChat, chat(), "Authorization: Bearer no\r\n").status, 401);
  EXPECT_EQ(fake.submitted(), 0U);
}

TEST_F(ServerTest, RequestIdIsEchoedOrMade) {
  HttpClient client(start());
  EXPECT_EQ(client.request("GET", "/health", "", "X-Request-Id: abc\r\n").header("X-Request-Id"),
            "abc");
  EXPECT_NE(client.request("GET", "/nothing").header("X-Request-Id"), "");
}

TEST_F(ServerTest, PipelinedRequestsAreAnsweredInOrder) {
  fake.pieces = {"x"};
  HttpClient client(start());
  client.send(HttpClient::message("GET", "/version") + HttpClient::message("POST", kChat, chat()) +
              HttpClient::message("GET", "/health"));
  EXPECT_THAT(client.read_answer().body, HasSubstr("version"));
  EXPECT_THAT(client.read_answer().body, HasSubstr("chat.completion"));
  EXPECT_THAT(client.read_answer().body, HasSubstr("ok"));
}

TEST_F(ServerTest, RequestInSingleBytesIsUnderstood) {
  fake.pieces = {"x"};
  HttpClient client(start());
  for (char c : HttpClient::message("POST", kChat, chat())) client.send(std::string(1, c));
  EXPECT_EQ(client.read_answer().status, 200);
}

TEST_F(ServerTest, ChunkedBodyIsUnderstood) {
  fake.pieces = {"x"};
  HttpClient client(start());
  client.send(
      "POST /v1/completions HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
      "7\r\n{\"promp\r\n8\r\nt\":\"hi\"}\r\n0\r\n\r\n");
  EXPECT_EQ(client.read_answer().status, 200);
}

TEST_F(ServerTest, ExpectContinueIsAnsweredBeforeTheBody) {
  fake.pieces = {"x"};
  HttpClient client(start());
  const std::string body = chat();
  client.send(
      "POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\n"
      "Content-Length: " +
      std::to_string(body.size()) + "\r\n\r\n");
  EXPECT_THAT(client.read_through("\r\n\r\n"), HasSubstr("100 Continue"));
  client.send(body);
  EXPECT_EQ(client.read_answer().status, 200);
}

TEST_F(ServerTest, Http10ClientGetsAnAnswerAndAClose) {
  HttpClient client(start());
  client.send("GET /health HTTP/1.0\r\n\r\n");
  EXPECT_THAT(client.read_to_end(), HasSubstr("\"ok\""));
}

TEST_F(ServerTest, ClientThatClosesItsSideAfterAGetStillGetsTheAnswer) {
  HttpClient client(start());
  client.send(HttpClient::message("GET", "/metrics"));
  client.close_sending_side();
  EXPECT_EQ(client.read_answer().status, 200);
}

TEST_F(ServerTest, PortInUseIsAnErrorWithTheAddress) {
  config.port = start();
  server::HttpServer second(config, [] { return nullptr; });
  try {
    second.start();
    FAIL() << "bound twice";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr(std::to_string(port)));
  }
}

TEST_F(ServerTest, RequestsAreCountedByPathAndStatus) {
  HttpClient client(start());
  client.request("GET", "/nothing");
  const std::string metrics = client.request("GET", "/metrics").body;
  EXPECT_THAT(metrics, HasSubstr(R"(krserve:http_requests_total{path="other",status="404"} 1)"));
  EXPECT_THAT(metrics, HasSubstr(R"(vllm:num_requests_running{model_name="fake"} 0)"));
}

}  // namespace
}  // namespace krserve::test
