#include <gmock/gmock.h>

#include <random>

#include "unit/server/server_fixture.h"

namespace krserve::test {
namespace {

class MalformedHttp : public ServerTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(MalformedHttp, IsA400AndAClose) {
  HttpClient client(start());
  client.send(GetParam());
  const Answer answer = client.read_answer();
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(answer.json()["error"]["code"], "malformed_http");
  EXPECT_EQ(client.read_to_end(), "");
}

INSTANTIATE_TEST_SUITE_P(
    Requests, MalformedHttp,
    ::testing::Values("GARBAGE\r\n\r\n", "GET /health\r\n\r\n", "GET /health HTTP/9.9\r\n\r\n",
                      "GET /health HTTP/1.1\r\nno colon\r\n\r\n",
                      "GET /health HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                      "GET /health HTTP/1.1\r\nContent-Length: 1x\r\n\r\n",
                      "GET /health HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                      "POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                      "GET /he\x01lth HTTP/1.1\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));

// Random bytes, and valid requests with random damage: any answer or close will do, no crash or
// hang.
TEST_F(ServerTest, RandomInputDoesNotHurt) {
  limits.header_time = limits.body_stall_time = std::chrono::milliseconds(200);
  fake.pieces = {"x"};
  start();
  std::mt19937 random(20240607);
  const std::vector<std::string> seeds = {
      HttpClient::message("POST", kChat, chat(R"(,"stream":true)")),
      HttpClient::message("POST", kCompletions, R"({"prompt":[1,2,3],"n":2})"),
      HttpClient::message("GET", "/v1/models/%66ake"),
      "POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{\"a\r\n0\r\n\r\n"};
  for (int round = 0; round < 300; ++round) {
    std::string bytes = seeds[random() % seeds.size()];
    if (round % 3 == 0) bytes.assign(random() % 400, ' ');
    const size_t changes = round % 3 == 0 ? bytes.size() : 1 + random() % 8;
    for (size_t i = 0; i < changes && !bytes.empty(); ++i) {
      bytes[random() % bytes.size()] = static_cast<char>(random() % 256);
    }
    if (round % 4 == 1) bytes.resize(random() % (bytes.size() + 1));
    HttpClient client(port);
    client.send(bytes);
    client.close_sending_side();
    if (round % 2 == 0) client.read_to_end();
  }
  HttpClient client(port);
  EXPECT_EQ(client.request("POST", kChat, chat()).status, 200);
}

// Each prefix of a JSON body, and each body with one byte replaced: 200 or 400, nothing else.
TEST_F(ServerTest, DamagedBodiesAre200Or400) {
  fake.pieces = {"x"};
  HttpClient client(start());
  const std::string body = chat(R"(,"n":2,"stop":["a"],"temperature":0.5)");
  for (size_t i = 0; i < body.size(); ++i) {
    EXPECT_EQ(client.request("POST", kChat, body.substr(0, i)).status, 400) << i;
    for (char replacement : {'"', '\\', '\xff', '\0', '{'}) {
      std::string damaged = body;
      damaged[i] = replacement;
      const int status = client.request("POST", kChat, damaged).status;
      EXPECT_TRUE(status == 200 || status == 400) << damaged << " gave " << status;
    }
  }
}

}  // namespace
}  // namespace krserve::test
