// Where rows of prompts take a matmul of their own, steps without any are encoded without it.
#include <gtest/gtest.h>

#include "device/fake/fake_device.h"
#include "model/formats/model_config.h"
#include "support/engine_client.h"

namespace krserve::engine {
namespace {

constexpr const char* kModel = "qwen2-q4-g64";

// A step's matmuls that may have rows of prompts, and the others.
using Matmuls = std::pair<uint32_t, uint32_t>;

// Of each step, in order: a prompt of 20 tokens in chunks of 16, and 9 tokens more.
std::vector<Matmuls> matmuls_of_steps(const FakeOptions& options, bool pool, bool ring) {
  const auto device = std::make_shared<FakeDevice>(options);
  const auto engine =
      Engine::create(test::small_config(pool, true, ring), test::golden_dir(kModel), {}, device);
  const auto reply =
      test::submit(*engine, test::greedy_request(std::vector<int32_t>(20, 5), 10)).wait();
  EXPECT_EQ(reply.tokens.size(), 10U);
  std::vector<Matmuls> steps;
  for (const std::string& call : device->calls()) {
    if (call == "dispatch count_tokens") steps.emplace_back();
    if (call == "dispatch matmul prompts") ++steps.back().first;
    if (call == "dispatch matmul") ++steps.back().second;
  }
  return steps;
}

// q, k, v, o, gate, up and down of each layer, and the head.
TEST(PromptMatmul, IsForStepsWithRowsOfPromptsAndNotForTheHead) {
  const uint32_t layers = krserve::read_model_config(test::golden_dir(kModel)).layers;
  const Matmuls with{7 * layers, 1}, without{0, 7 * layers + 1};
  for (const bool dynamic_rows : {false, true}) {
    for (const bool pool : {false, true}) {
      for (const bool ring : {false, true}) {
        SCOPED_TRACE(testing::Message() << dynamic_rows << pool << ring);
        FakeOptions options;
        options.dynamic_rows = dynamic_rows;
        options.prompt_matmul = true;
        const auto steps = matmuls_of_steps(options, pool, ring);
        ASSERT_EQ(steps.size(), 11U);
        for (size_t i = 0; i < steps.size(); ++i) EXPECT_EQ(steps[i], i < 2 ? with : without) << i;
      }
    }
  }
}

TEST(PromptMatmul, IsNotAskedForWhereThereIsNone) {
  for (const Matmuls& step : matmuls_of_steps({}, true, true)) EXPECT_EQ(step.first, 0U);
}

}  // namespace
}  // namespace krserve::engine
