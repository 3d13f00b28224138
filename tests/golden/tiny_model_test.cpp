// The embedded model answers held-out questions: the whole engine, chat template to text.
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "support/engine_client.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace krserve::engine {
namespace {

using Json = nlohmann::json;

struct Question {
  std::string task;
  std::string prompt;
  std::string answer;
};

std::vector<Question> heldout() {
  std::ifstream file(std::string(KR_SOURCE_DIR) + "/tests/data/tiny_model/heldout.jsonl");
  std::vector<Question> questions;
  for (std::string line; std::getline(file, line);) {
    const Json json = Json::parse(line);
    questions.push_back({json.at("task"), json.at("prompt"), json.at("answer")});
  }
  return questions;
}

std::unique_ptr<Engine> tiny_engine() {
  RuntimeConfig config = test::small_config(true, true, true);
  config.engine.threads = 0;
  config.engine.parallel = 16;
  config.engine.prefill_chunk_tokens = 256;
  config.engine.ctx_size = 512;
  config.engine.max_queued = 4096;
  return Engine::create(config, std::string(KR_SOURCE_DIR) + "/models/tiny");
}

test::Submitted ask(Engine& engine, const std::string& question) {
  const Json messages = {{{"role", "user"}, {"content", question}}};
  Request request;
  request.prompt = engine.tokenizer().encode(engine.chat_template().render(messages.dump()), false);
  request.sampling.temperature = 0;
  request.max_tokens = 200;
  return test::submit(engine, std::move(request));
}

TEST(TinyModel, AnswersTheQuestionOfTheReadme) {
  const auto engine = tiny_engine();
  const auto reply = ask(*engine, "What is 17 + 25?").wait();
  EXPECT_NE(reply.text.find("42"), std::string::npos) << reply.text;
  EXPECT_EQ(reply.last.finish, FinishReason::kStop);
}

TEST(TinyModel, ReachesTheScoresOfItsCard) {
  const auto engine = tiny_engine();
  const std::vector<Question> questions = heldout();
  std::vector<test::Submitted> replies;
  for (const Question& question : questions) replies.push_back(ask(*engine, question.prompt));
  std::map<std::string, std::pair<int, int>> right;  // task -> right, asked
  for (size_t i = 0; i < questions.size(); ++i) {
    const auto reply = replies[i].wait();
    auto& [hits, asked] = right[questions[i].task];
    ++asked;
    hits += reply.text == questions[i].answer && reply.last.finish == FinishReason::kStop ? 1 : 0;
  }
  for (const char* task : {"add_2digit", "sub_2digit", "add_3digit", "sub_3digit"}) {
    ASSERT_GE(right[task].second, 200) << task;
  }
  for (const auto& [task, score] : right) {
    const double share = static_cast<double>(score.first) / score.second;
    const bool two_digit = task.ends_with("_2digit");
    const bool three_digit = task.ends_with("_3digit");
    EXPECT_GE(share, two_digit ? 0.99 : three_digit ? 0.95 : 0.80) << task;
  }
}

}  // namespace
}  // namespace krserve::engine
