#include <gmock/gmock.h>

#include <thread>

#include "unit/server/server_fixture.h"

namespace krserve::test {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

TEST_F(ServerTest, BodyOverTheLimitIs413WithoutReadingIt) {
  config.max_body_mb = 1;
  HttpClient client(start());
  client.send("POST /v1/completions HTTP/1.1\r\nHost: t\r\nContent-Length: 1048577\r\n\r\n");
  const Answer answer = client.read_answer();
  EXPECT_EQ(answer.status, 413);
  EXPECT_EQ(answer.json()["error"]["code"], "request_too_large");
  EXPECT_EQ(answer.header("Connection"), "close");
}

TEST_F(ServerTest, ChunkedBodyOverTheLimitIs413) {
  config.max_body_mb = 1;
  HttpClient client(start());
  client.send("POST /v1/completions HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
  const std::string chunk = "10000\r\n" + std::string(0x10000, ' ') + "\r\n";
  for (int i = 0; i < 17; ++i) client.send(chunk);
  EXPECT_EQ(client.read_answer().status, 413);
}

TEST_F(ServerTest, BodyAtTheLimitIsRead) {
  config.max_body_mb = 1;
  fake.pieces = {"x"};
  HttpClient client(start());
  std::string body = R"({"prompt":"hi"})";
  body += std::string(1024 * 1024 - body.size(), ' ');
  EXPECT_EQ(client.request("POST", kCompletions, body).status, 200);
}

TEST_F(ServerTest, HeaderOverTheLimitIs431) {
  limits.header_bytes = 1024;
  HttpClient client(start());
  client.send("GET /health HTTP/1.1\r\nX: " + std::string(2000, 'a') + "\r\n\r\n");
  EXPECT_EQ(client.read_answer().status, 431);
}

TEST_F(ServerTest, SlowHeaderAndSlowBodyAre408) {
  limits.header_time = milliseconds(50);
  limits.body_stall_time = milliseconds(50);
  start();
  HttpClient header(port);
  header.send("GET /health HTTP/1.1\r\n");
  EXPECT_EQ(header.read_answer().status, 408);
  HttpClient body(port);
  body.send("POST /v1/completions HTTP/1.1\r\nContent-Length: 9\r\n\r\n{");
  EXPECT_EQ(body.read_answer().status, 408);
}

TEST_F(ServerTest, IdleConnectionIsClosed) {
  limits.idle_time = milliseconds(50);
  HttpClient client(start());
  EXPECT_EQ(client.read_to_end(), "");
}

TEST_F(ServerTest, SilentStreamGetsKeepAliveComments) {
  config.keep_alive_s = 1;
  HttpClient client(start());
  client.send(HttpClient::message("POST", kChat, chat(R"(,"stream":true)")));
  EXPECT_THAT(client.read_through(": keep-alive\n\n"), HasSubstr("text/event-stream"));
  client.read_through(": keep-alive\n\n");
  fake.say(1, "awake");
  fake.finish(1);
  client.read_through("awake");
  client.read_through("data: [DONE]\n\n");
}

TEST_F(ServerTest, RequestOverItsTimeLimitIsEnded) {
  config.request_timeout_s = 1;
  start();
  HttpClient plain(port);
  HttpClient streaming(port);
  plain.send(HttpClient::message("POST", kChat, chat()));
  ASSERT_TRUE(fake.wait_submitted(1));
  streaming.send(HttpClient::message("POST", kChat, chat(R"(,"stream":true)")));
  ASSERT_TRUE(fake.wait_submitted(2));
  fake.say(2, "begun");
  EXPECT_EQ(plain.read_answer().status, 504);
  EXPECT_THAT(streaming.read_answer().body, HasSubstr(R"("code":"request_timeout")"));
  EXPECT_TRUE(fake.wait_cancelled(1));
  EXPECT_TRUE(fake.wait_cancelled(2));
}

TEST_F(ServerTest, ReaderThatFallsBehindIsCancelled) {
  limits.unsent_bytes = 64 * 1024;
  start();
  HttpClient client(port, 4096);
  client.send(HttpClient::message("POST", kChat, chat(R"(,"stream":true)")));
  ASSERT_TRUE(fake.wait_submitted(1));
  // More than the socket buffers of both sides can take.
  for (int i = 0; i < 64 && fake.cancelled() == 0; ++i) fake.say(1, std::string(256 * 1024, 'x'));
  EXPECT_TRUE(fake.wait_cancelled(1));
}

TEST_F(ServerTest, ReaderThatStopsReadingIsClosed) {
  limits.write_stall_time = milliseconds(100);
  start();
  HttpClient client(port, 4096);
  client.send(HttpClient::message("POST", kChat, chat()));
  ASSERT_TRUE(fake.wait_submitted(1));
  fake.say(1, std::string(32 * 1024 * 1024, 'x'));
  fake.finish(1);
  HttpClient other(port);
  std::string metrics;
  for (int i = 0; i < 200 && metrics.find(R"(status="499")") == std::string::npos; ++i) {
    std::this_thread::sleep_for(milliseconds(100));
    metrics = other.request("GET", "/metrics").body;
  }
  EXPECT_THAT(metrics, HasSubstr(R"({path="/v1/chat/completions",status="499"} 1)"));
}

TEST_F(ServerTest, ConnectionsOverTheLimitAre503UntilOneCloses) {
  config.max_connections = 2;
  start();
  HttpClient first(port);
  auto second = std::make_unique<HttpClient>(port);
  EXPECT_EQ(first.request("GET", "/health").status, 200);
  EXPECT_EQ(second->request("GET", "/health").status, 200);
  HttpClient third(port);
  const Answer refused = third.read_answer();
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(refused.json()["error"]["code"], "too_many_connections");
  second.reset();
  int status = 0;
  for (int i = 0; i < 200 && status != 200; ++i) {
    std::this_thread::sleep_for(milliseconds(10));
    HttpClient again(port);
    again.send(HttpClient::message("GET", "/health"));
    status = again.read_answer().status;
  }
  EXPECT_EQ(status, 200);
}

TEST_F(ServerTest, TooMuchPipelinedInputClosesAfterTheAnswer) {
  limits.pipelined_bytes = 1000;
  HttpClient client(start());
  client.send(HttpClient::message("POST", kChat, chat()));
  ASSERT_TRUE(fake.wait_submitted(1));
  client.send(std::string(100'000, 'x'));
  // Once this much has been read, the server has seen that it is too much.
  std::this_thread::sleep_for(milliseconds(50));
  fake.say(1, "42");
  fake.finish(1);
  EXPECT_EQ(client.read_answer().json()["choices"][0]["message"]["content"], "42");
  EXPECT_EQ(client.read_to_end(), "");
}

}  // namespace
}  // namespace krserve::test
