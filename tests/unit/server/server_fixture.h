// A server on a free port in front of a FakeEngine.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "server/http/http_server.h"
#include "unit/server/fake_engine.h"
#include "unit/server/http_client.h"

namespace krserve::test {

class ServerTest : public ::testing::Test {
 protected:
  ServerTest() {
    config.port = 0;
    config.drain_timeout_s = 10;
  }
  ~ServerTest() override { server.reset(); }

  uint16_t start() {
    server = std::make_unique<server::HttpServer>(
        config, [this]() -> engine::Engine* { return loaded ? &fake : nullptr; }, limits);
    port = server->start();
    return port;
  }

  static std::string chat(const std::string& extra = {}) {
    return R"({"messages":[{"role":"user","content":"hi"}])" + extra + "}";
  }
  static constexpr const char* kChat = "/v1/chat/completions";
  static constexpr const char* kCompletions = "/v1/completions";

  ServerConfig config;
  server::HttpLimits limits;
  FakeEngine fake;
  std::atomic<bool> loaded{true};
  std::unique_ptr<server::HttpServer> server;
  uint16_t port = 0;
};

}  // namespace krserve::test
