#include "server/json_rpc/stdio_server.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "base/error.h"
#include "unit/server/fake_engine.h"

namespace krserve::server::rpc {
namespace {

using Json = nlohmann::json;
using test::FakeEngine;

// A server on two pipes with engines that tests steer.
class StdioServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(pipe(in_), 0);
    ASSERT_EQ(pipe(out_), 0);
  }
  void TearDown() override {
    close_input();
    close_output();
    if (thread_.joinable()) thread_.join();
    close(in_[0]);
    close(out_[1]);
  }

  void start(bool with_model = true) {
    if (with_model) config_.values.model.path = std::string(KR_SOURCE_DIR) + "/models/tiny";
    server_ = std::make_unique<StdioServer>(
        config_, in_[0], out_[1],
        [this](const RuntimeConfig&, const std::filesystem::path&,
               const engine::Engine::Progress& progress) { return create(progress); });
    thread_ = std::thread([this] { exit_code_ = server_->run(); });
    while (with_model && call("list_models")["result"]["models"].empty()) std::this_thread::yield();
  }

  // The exit code of run().
  int wait_end() {
    thread_.join();
    return exit_code_;
  }

  void send(const Json& frame) {
    const std::string line = frame.dump() + "\n";
    ASSERT_EQ(write(in_[1], line.data(), line.size()), static_cast<ssize_t>(line.size()));
  }
  void send(const Json& id, const std::string& method, const Json& params = Json::object()) {
    send({{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", params}});
  }
  // The next frame; null when the output ends.
  Json receive() {
    size_t end = 0;
    while ((end = received_.find('\n')) == std::string::npos) {
      char buffer[4096];
      const auto count = read(out_[0], buffer, sizeof(buffer));
      if (count <= 0) return nullptr;
      received_.append(buffer, static_cast<size_t>(count));
    }
    const Json frame = Json::parse(received_.substr(0, end));
    received_.erase(0, end + 1);
    return frame;
  }
  // The answer to `id`, whatever else comes before it.
  Json answer_to(const Json& id) {
    for (Json frame = receive(); !frame.is_null(); frame = receive()) {
      if (frame.value("id", Json()) == id) return frame;
    }
    ADD_FAILURE() << "no answer to " << id;
    return {};
  }
  Json call(const std::string& method, const Json& params = Json::object()) {
    const std::string id = "call" + std::to_string(++calls_);
    send(id, method, params);
    return answer_to(id);
  }
  engine::RequestId generate(const Json& id) {
    send(id, "generate", {{"prompt", "Once"}});
    EXPECT_TRUE(engine_->wait_submitted(++submitted_));
    return submitted_;
  }

  void close_input() { close_once(in_[1]); }
  void close_output() { close_once(out_[0]); }
  static void close_once(int& fd) {
    if (fd >= 0) close(fd);
    fd = -1;
  }

  virtual std::unique_ptr<engine::Engine> create(const engine::Engine::Progress&) {
    auto made = std::make_unique<FakeEngine>();
    engine_ = made.get();
    return made;
  }

  LoadedConfig config_;
  FakeEngine* engine_ = nullptr;
  std::unique_ptr<StdioServer> server_;

 private:
  int in_[2] = {-1, -1};
  int out_[2] = {-1, -1};
  std::string received_;
  int calls_ = 0;
  size_t submitted_ = 0;
  std::atomic<int> exit_code_{-1};
  std::thread thread_;
};

TEST_F(StdioServerTest, TimeLimitEndsAGenerationWithAnError) {
  config_.values.server.request_timeout_s = 1;
  start();
  const auto id = generate("slow");
  engine_->say(id, "never done");
  const Json answer = answer_to("slow");
  EXPECT_EQ(answer["error"]["code"], -32006);
  EXPECT_EQ(answer["error"]["data"]["kind"], "request_failed");
  EXPECT_TRUE(engine_->wait_cancelled(id));
}

TEST_F(StdioServerTest, FailedSequenceIsAnErrorAndOthersGoOn) {
  start();
  const auto bad = generate("bad");
  const auto good = generate("good");
  engine_->finish(bad, engine::FinishReason::kError, "the sequence broke");
  EXPECT_EQ(answer_to("bad")["error"]["message"], "the sequence broke");
  engine_->say(good, "text");
  engine_->finish(good);
  EXPECT_EQ(answer_to("good")["result"]["text"], "text");
}

TEST_F(StdioServerTest, FullQueueIsOverloadedAndADefectInternal) {
  start();
  engine_->queue_full = true;
  EXPECT_EQ(call("generate", {{"prompt", "a"}})["error"]["code"], -32004);
  engine_->submit_failure = "a defect";
  EXPECT_EQ(call("generate", {{"prompt", "a"}})["error"]["code"], -32603);
  EXPECT_EQ(call("health")["result"]["status"], "ok");
}

TEST_F(StdioServerTest, ModelWithoutATemplateSaysSo) {
  start();
  engine_->has_template = false;
  const Json messages = {{{"role", "user"}, {"content", "a"}}};
  const Json answer = call("generate", {{"messages", messages}});
  EXPECT_EQ(answer["error"]["code"], -32602);
  EXPECT_EQ(answer["error"]["data"]["param"], "messages");
}

TEST_F(StdioServerTest, HealthIsTheEngines) {
  start();
  engine_->set_health(engine::Health::kStalled);
  const Json result = call("health")["result"];
  EXPECT_EQ(result["status"], "stalled");
  EXPECT_EQ(result["models"][0]["detail"], "ring: 3 of 3 slots in flight");
}

TEST_F(StdioServerTest, StopFinishesWhatIsInFlight) {
  start();
  const auto id = generate("last");
  server_->stop();
  engine_->say(id, "done");
  engine_->finish(id);
  EXPECT_EQ(answer_to("last")["result"]["text"], "done");
  EXPECT_EQ(wait_end(), 0);
}

TEST_F(StdioServerTest, StopWithoutCallsEndsAtOnce) {
  start(false);
  server_->stop();
  EXPECT_EQ(wait_end(), 0);
}

TEST_F(StdioServerTest, ClosedOutputCancelsTheGenerations) {
  start();
  const auto id = generate("lost");
  FakeEngine* engine = engine_;
  engine->say(id, "a");
  close_output();
  EXPECT_EQ(wait_end(), 0);
}

// Engines that cannot be made, as the test says.
class FailingLoadTest : public StdioServerTest {
 protected:
  std::unique_ptr<engine::Engine> create(const engine::Engine::Progress& progress) override {
    if (fail_) fail_();
    while (true) {
      progress(0.5, "loading for ever");
      waiting_ = true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  int code_after(std::function<void()> fail) {
    fail_ = std::move(fail);
    return call("load_model",
                {{"model", std::string(KR_SOURCE_DIR) + "/models/tiny"}})["error"]["code"]
        .get<int>();
  }

  std::function<void()> fail_;
  std::atomic<bool> waiting_{false};
};

TEST_F(FailingLoadTest, EachFailureHasItsCodeAndTheNameIsFreeAgain) {
  start(false);
  EXPECT_EQ(code_after([] { throw ModelError("a", "b"); }), -32002);
  EXPECT_EQ(code_after([] { throw TextError("a", "b"); }), -32002);
  EXPECT_EQ(code_after([] { throw OutOfMemoryError("a", "b"); }), -32003);
  EXPECT_EQ(code_after([] { throw DeviceError("a", "b"); }), -32005);
  EXPECT_EQ(code_after([] { throw ConfigError("a", "b"); }), -32007);
  EXPECT_EQ(code_after([] { throw std::runtime_error("a"); }), -32603);
  EXPECT_EQ(call("health")["result"]["status"], "idle");
}

TEST_F(FailingLoadTest, FailureAtTheStartIsTheEnd) {
  fail_ = [] { throw ModelError("a", "b"); };
  config_.values.model.path = std::string(KR_SOURCE_DIR) + "/models/tiny";
  start(false);
  EXPECT_EQ(wait_end(), 1);
}

TEST_F(FailingLoadTest, LoadIsGivenUpWhenTheClientGoes) {
  start(false);
  send(1, "load_model", {{"model", std::string(KR_SOURCE_DIR) + "/models/tiny"}});
  while (!waiting_) std::this_thread::yield();
  EXPECT_EQ(call("health")["result"]["status"], "loading");
  close_output();
  EXPECT_EQ(wait_end(), 0);
}

TEST_F(FailingLoadTest, LoadIsGivenUpWhenTheDrainIsOver) {
  start(false);
  send(1, "load_model", {{"model", std::string(KR_SOURCE_DIR) + "/models/tiny"}});
  while (!waiting_) std::this_thread::yield();
  send(2, "shutdown", {{"drain_timeout_s", 0}});
  EXPECT_EQ(answer_to(1)["error"]["code"], -32004);
  EXPECT_EQ(answer_to(2)["result"]["drained"], false);
  EXPECT_EQ(wait_end(), 0);
}

}  // namespace
}  // namespace krserve::server::rpc
