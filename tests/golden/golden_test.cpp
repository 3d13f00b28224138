// The forward pass against logits that Hugging Face transformers computed (scripts/golden).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "device/cpu/cpu_device.h"
#include "model/formats/safetensors.h"
#include "support/decoder_harness.h"
#include "support/test_device.h"
#include "support/tolerance.h"

namespace krserve {
namespace {

using test::DecoderHarness;

std::filesystem::path data_dir(const std::string& name) {
  return std::filesystem::path(KR_SOURCE_DIR) / "tests/golden/data" / name;
}

struct GoldenPrompt {
  std::vector<int32_t> tokens;
  std::vector<float> logits;
  std::vector<int32_t> greedy;
};

template <class T>
std::vector<T> read(const SafetensorsFile& file, const std::string& name) {
  const TensorView* view = file.find(name);
  if (view == nullptr) throw std::runtime_error("no tensor " + name);
  std::vector<T> values(view->bytes / sizeof(T));
  std::memcpy(values.data(), view->data, view->bytes);
  return values;
}

GoldenPrompt golden_prompt(const std::string& model, int index) {
  const SafetensorsFile file(data_dir(model) / "logits.safetensors");
  const std::string prefix = "prompt" + std::to_string(index) + ".";
  return {read<int32_t>(file, prefix + "input_ids"), read<float>(file, prefix + "logits"),
          read<int32_t>(file, prefix + "greedy_ids")};
}

float max_abs_error(const std::vector<float>& a, const std::vector<float>& b) {
  float worst = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const float error = std::fabs(a[i] - b[i]);
    if (!(error <= worst)) worst = error;  // a NaN becomes the worst
  }
  return worst;
}

float max_abs(const std::vector<float>& values) {
  float largest = 0;
  for (const float value : values) largest = std::max(largest, std::fabs(value));
  return largest;
}

struct GoldenCase {
  std::string model;
  std::string arithmetic;  // a SIMD level of the CPU, or the back end that the suite runs on
};

void PrintTo(const GoldenCase& c, std::ostream* out) {
  *out << c.model << " " << c.arithmetic;
}

std::optional<kernels::SimdLevel> level_named(const std::string& name) {
  for (const auto level : kernels::kAllSimdLevels) {
    if (name == kernels::to_string(level)) return level;
  }
  return std::nullopt;
}

class Golden : public ::testing::TestWithParam<GoldenCase> {
 protected:
  void SetUp() override {
    const auto level = level_named(GetParam().arithmetic);
    if (level && !kernels::simd_level_supported(*level)) {
      GTEST_SKIP() << "this processor has no " << GetParam().arithmetic;
    }
    if (level) {
      CpuDeviceOptions options;
      options.threads = 2;
      options.simd_level = *level;
      device_ = make_cpu_device(options);
    } else {
      device_ = test::open_device();
    }
  }
  // Of the largest logit.
  float tolerance() const { return test::logit_tolerance(GetParam().arithmetic); }

  std::shared_ptr<Device> device_;
};

// The project's bar for 16-bit weights: 2e-2, with the KV type that users run.
TEST_P(Golden, LogitsMatchTransformersWithF16Cache) {
  for (int prompt = 0; prompt < 2; ++prompt) {
    const GoldenPrompt golden = golden_prompt(GetParam().model, prompt);
    DecoderHarness model(device_, data_dir(GetParam().model), ops::FloatType::kF16);
    const float allowed = std::max(2e-2F, tolerance() * max_abs(golden.logits));
    EXPECT_LE(max_abs_error(model.run(golden.tokens, 0), golden.logits), allowed) << prompt;
  }
}

TEST_P(Golden, LogitsMatchTransformersClosely) {
  for (int prompt = 0; prompt < 2; ++prompt) {
    const GoldenPrompt golden = golden_prompt(GetParam().model, prompt);
    DecoderHarness model(device_, data_dir(GetParam().model));
    const float error = max_abs_error(model.run(golden.tokens, 0), golden.logits);
    const float largest = max_abs(golden.logits);
    EXPECT_LE(error, tolerance() * largest) << prompt;
    // For --gtest_output: what the tolerance could be.
    RecordProperty("error_of_prompt_" + std::to_string(prompt), std::to_string(error / largest));
  }
}

TEST_P(Golden, GreedyContinuationMatches) {
  const GoldenPrompt golden = golden_prompt(GetParam().model, 0);
  DecoderHarness model(device_, data_dir(GetParam().model), ops::FloatType::kF16);
  std::vector<float> logits = model.run(golden.tokens, 0);
  auto position = static_cast<uint32_t>(golden.tokens.size());
  std::vector<int32_t> drawn;
  while (drawn.size() < golden.greedy.size()) {
    const auto last = logits.end() - model.vocab();
    drawn.push_back(static_cast<int32_t>(std::max_element(last, logits.end()) - last));
    logits = model.run({drawn.back()}, position++);
  }
  EXPECT_EQ(drawn, golden.greedy);
}

// A row does not depend on the chunk that brought it, bit for bit.
TEST_P(Golden, ChunkedPrefillIsBitIdentical) {
  const GoldenPrompt golden = golden_prompt(GetParam().model, 1);
  DecoderHarness whole(device_, data_dir(GetParam().model), ops::FloatType::kF16);
  const std::vector<float> expected = whole.run(golden.tokens, 0);
  for (const size_t chunk : {size_t{1}, size_t{7}, size_t{17}}) {
    DecoderHarness model(device_, data_dir(GetParam().model), ops::FloatType::kF16);
    std::vector<float> logits;
    for (size_t at = 0; at < golden.tokens.size(); at += chunk) {
      const auto first = golden.tokens.begin() + static_cast<ptrdiff_t>(at);
      const auto size = std::min(chunk, golden.tokens.size() - at);
      const auto part =
          model.run({first, first + static_cast<ptrdiff_t>(size)}, static_cast<uint32_t>(at));
      logits.insert(logits.end(), part.begin(), part.end());
    }
    EXPECT_EQ(logits, expected) << "chunks of " << chunk;
  }
}

std::vector<GoldenCase> cases() {
  std::vector<std::string> arithmetics;
  if (test::backend() == "cpu") {
    for (const auto level : kernels::kAllSimdLevels) {
      arithmetics.emplace_back(kernels::to_string(level));
    }
  } else {
    arithmetics.push_back(test::backend());
  }
  std::vector<GoldenCase> all;
  for (const char* model :
       {"qwen2-bf16", "qwen3-bf16", "llama-bf16", "llama-f16-sharded", "qwen2-q4-g64",
        "qwen2-q4-g64-dequantized-f32-sharded", "llama-q4-g32", "qwen3-q8-g64-mixed"}) {
    for (const std::string& arithmetic : arithmetics) all.push_back({model, arithmetic});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Models, Golden, ::testing::ValuesIn(cases()));

// The 4-bit path equals running its dequantized weights in f32.
TEST(GoldenQuantized, FourBitEqualsItsDequantizedWeights) {
  const auto device = test::open_device();
  const GoldenPrompt golden = golden_prompt("qwen2-q4-g64", 0);
  DecoderHarness packed(device, data_dir("qwen2-q4-g64"));
  DecoderHarness unpacked(device, data_dir("qwen2-q4-g64-dequantized-f32-sharded"));
  const std::vector<float> a = packed.run(golden.tokens, 0);
  const std::vector<float> b = unpacked.run(golden.tokens, 0);
  const float allowed = std::max(1e-3F, test::logit_tolerance(test::backend()));
  EXPECT_LE(max_abs_error(a, b), allowed * max_abs(b));
}

}  // namespace
}  // namespace krserve
