// matmul at sizes where a back end changes kernels, alone and in the company it has in a model.
#include "kernels/ops/matmul.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/silu_mul.h"
#include "parity/reference.h"

namespace krserve::parity {
namespace {

using ops::FloatType;
using ops::Op;
using ops::RowCount;
using ops::WeightFormat;

// Halves for activations and unpacked weights cost 2^-11 of each; the CPU's are finer.
constexpr double kTolerance = 1e-3;

Content header(uint32_t rows) {
  return Content::of(std::vector<ops::StepHeader>{{rows, rows, 0, 0}});
}

struct Product {
  std::vector<Content> contents;  // params, x, data, scales, biases, bias, y
  ops::MatmulArgs args;
};

Product make_product(std::mt19937& random, ops::WeightArgs weight, uint32_t rows, uint32_t flags) {
  RandomWeight w = random_weight(random, weight);
  const size_t outputs = size_t{rows} * weight.n;
  return {{header(rows), Content::of(random_floats(random, size_t{rows} * weight.k)), w.data,
           w.scales, w.biases, Content::of(random_floats(random, weight.n)),
           Content::of(random_floats(random, outputs))},
          {weight, RowCount::kRows, flags}};
}

OpCall call_of(const Product& product) {
  return OpCall::of(Op::kMatmul, product.args, {0, 1, 2, 3, 4, 5, 6});
}

void expect_near(Device& device, const Product& product) {
  const OpCall call = call_of(product);
  const auto result = run_calls(device, {call}, product.contents);
  const auto expected = run_reference({call}, product.contents);
  const ops::WeightArgs& w = product.args.weight;
  EXPECT_LT(relative_error(result[6].as<float>(), expected[6].as<float>()), kTolerance)
      << "format " << static_cast<int>(w.format) << " n " << w.n << " k " << w.k << " group "
      << w.group_size << " scales " << static_cast<int>(w.scale_type) << " rows "
      << product.contents[1].bytes.size() / w.k / 4;
}

TEST_P(Parity, EveryFormatIsNearTheReference) {
  std::mt19937 random(7);
  const ops::WeightArgs weights[] = {
      {80, 96, WeightFormat::kQ4, FloatType::kF16, 32},
      {65, 896, WeightFormat::kQ4, FloatType::kBF16, 64},
      {48, 1152, WeightFormat::kQ4, FloatType::kF32, 128},
      {33, 320, WeightFormat::kQ8, FloatType::kF16, 32},
      {160, 896, WeightFormat::kQ8, FloatType::kBF16, 64},
      {31, 200, WeightFormat::kF16, FloatType::kF32, 0},
      {130, 328, WeightFormat::kBF16, FloatType::kF32, 0},
      {40, 77, WeightFormat::kBF16, FloatType::kF32, 0},
      {17, 64, WeightFormat::kF32, FloatType::kF32, 0},
  };
  for (const ops::WeightArgs& weight : weights) {
    for (const uint32_t rows : {1U, 2U, 7U, 8U, 9U, 33U, 64U, 130U}) {
      expect_near(*device_, make_product(random, weight, rows, 0));
      expect_near(*device_,
                  make_product(random, weight, rows, ops::kMatmulBias | ops::kMatmulAccumulate));
    }
  }
}

TEST_P(Parity, LongRowsAndManyOutputsAreNearTheReference) {
  std::mt19937 random(7);
  for (const uint32_t rows : {1U, 3U, 40U}) {
    expect_near(*device_,
                make_product(random, {48, 18944, WeightFormat::kQ4, FloatType::kF16, 64}, rows, 0));
    expect_near(*device_, make_product(random, {20000, 128, WeightFormat::kQ4, FloatType::kF16, 64},
                                       rows, 0));
  }
}

TEST_P(Parity, LargeAndSmallActivationsKeepTheirAccuracy) {
  std::mt19937 random(7);
  for (const float scale : {1e-6f, 3e4f, 1e8f}) {
    Product product = make_product(random, {64, 512, WeightFormat::kQ4, FloatType::kF16, 64}, 2, 0);
    product.contents[1] = Content::of(random_floats(random, size_t{2} * 512, scale));
    expect_near(*device_, product);
  }
}

TEST_P(Parity, ARowDoesNotDependOnHowManyThereAre) {
  std::mt19937 random(7);
  for (const WeightFormat format : {WeightFormat::kQ4, WeightFormat::kQ8, WeightFormat::kBF16}) {
    constexpr uint32_t kMost = 300, kN = 272, kK = 1536;
    const uint32_t group = format == WeightFormat::kBF16 ? 0 : 64;
    const Product all = make_product(random, {kN, kK, format, FloatType::kF16, group}, kMost, 0);
    const Floats x = all.contents[1].as<float>();
    const Floats expected = run_calls(*device_, {call_of(all)}, all.contents)[6].as<float>();
    for (const uint32_t rows : {1U, 2U, 5U, 8U, 9U, 17U, 33U, 64U, 65U, 129U}) {
      Product some = all;
      some.contents[0] = header(rows);
      // The last rows of all: what matters must not be the place.
      const uint32_t from = kMost - rows;
      some.contents[1] = Content::of(Floats(x.begin() + from * kK, x.end()));
      some.contents[6] = Content::of(Floats(size_t{rows} * kN));
      const Floats y = run_calls(*device_, {call_of(some)}, some.contents)[6].as<float>();
      EXPECT_EQ(y, Floats(expected.begin() + from * kN, expected.end()))
          << rows << " rows, format " << static_cast<int>(format);
    }
  }
}

// A step whose rows are a prompt's or not.
Content header_of_roles(const std::vector<bool>& prompts) {
  const auto rows = static_cast<uint32_t>(prompts.size());
  Content step = header(rows);
  for (const bool prompt : prompts) {
    const ops::StepRow row{0, 0, 0, 0, prompt ? 1U * ops::kRowPrompt : 0U};
    const Content bytes = Content::of(std::vector<ops::StepRow>{row});
    step.bytes.insert(step.bytes.end(), bytes.bytes.begin(), bytes.bytes.end());
  }
  return step;
}

// Where prompts have a matmul of their own (DeviceInfo::prompt_matmul), a row's role chooses, and
// nothing else does.
TEST_P(Parity, ARowOfAPromptOrOfNoneDoesNotDependOnTheOthers) {
  std::mt19937 random(7);
  for (const WeightFormat format : {WeightFormat::kQ4, WeightFormat::kQ8, WeightFormat::kBF16}) {
    constexpr uint32_t kMost = 80, kN = 100, kK = 448;
    const uint32_t flags = ops::kMatmulPrompts | ops::kMatmulBias | ops::kMatmulAccumulate;
    const uint32_t group = format == WeightFormat::kBF16 ? 0 : 64;
    Product all = make_product(random, {kN, kK, format, FloatType::kF16, group}, kMost, flags);
    std::vector<bool> prompts(kMost);
    for (uint32_t r = 0; r < kMost; ++r) prompts[r] = r < 40 ? random() % 3 == 0 : r > 43;
    all.contents[0] = header_of_roles(prompts);
    expect_near(*device_, all);
    const Floats x = all.contents[1].as<float>(), before = all.contents[6].as<float>();
    const Floats expected = run_calls(*device_, {call_of(all)}, all.contents)[6].as<float>();
    for (const auto& [from, rows] :
         {std::pair{0U, 1U}, {7U, 33U}, {30U, 30U}, {43U, 9U}, {44U, 36U}}) {
      Product some = all;
      const std::vector<bool> roles(prompts.begin() + from, prompts.begin() + from + rows);
      some.contents[0] = header_of_roles(roles);
      some.contents[1] = Content::of(Floats(x.begin() + from * kK, x.begin() + (from + rows) * kK));
      some.contents[6] =
          Content::of(Floats(before.begin() + from * kN, before.begin() + (from + rows) * kN));
      EXPECT_EQ(run_calls(*device_, {call_of(some)}, some.contents)[6].as<float>(),
                Floats(expected.begin() + from * kN, expected.begin() + (from + rows) * kN))
          << "rows " << from << " + " << rows << ", format " << static_cast<int>(format);
    }
  }
}

TEST_P(Parity, RowsBeyondTheStepsAreLeftAlone) {
  std::mt19937 random(7);
  for (const uint32_t capacity : {1U, 8U, 40U, 200U}) {
    Product product =
        make_product(random, {64, 256, WeightFormat::kQ4, FloatType::kF16, 64}, capacity, 0);
    const Floats before = product.contents[6].as<float>();
    for (const uint32_t rows : {0U, capacity / 2}) {
      product.contents[0] = header(rows);
      const Floats y = run_calls(*device_, {call_of(product)}, product.contents)[6].as<float>();
      EXPECT_EQ(Floats(y.begin() + rows * 64, y.end()),
                Floats(before.begin() + rows * 64, before.end()));
    }
  }
}

// norm | q k v, norm | gate up | silu | down, as a layer has them: what a back end may merge.
struct LayerCalls {
  static constexpr uint32_t kHidden = 384, kKv = 80, kMiddle = 1088;
  enum : int { kParams, kX, kNorm, kNormed, kQ, kK, kV, kNormed2, kGate, kUp, kBias, kFirstWeight };

  std::vector<Content> contents;
  std::vector<OpCall> calls;

  LayerCalls(std::mt19937& random, uint32_t rows, bool in_place) {
    const auto floats = [&](size_t columns) {
      contents.push_back(Content::of(random_floats(random, rows * columns)));
    };
    contents.push_back(header(rows));
    floats(kHidden);
    contents.push_back(Content::of(random_floats(random, kHidden)));
    for (const uint32_t columns : {kHidden, kHidden, kKv, kKv, kHidden, kMiddle, kMiddle}) {
      floats(columns);
    }
    contents.push_back(Content::of(random_floats(random, kMiddle)));
    const int normed = in_place ? int{kX} : int{kNormed};
    norm(kX, normed);
    matmul(random, normed, kHidden, kQ, kHidden, false, ops::kMatmulBias);
    matmul(random, normed, kHidden, kK, kKv, false, ops::kMatmulBias);
    matmul(random, normed, kHidden, kV, kKv, true, 0);
    matmul(random, kQ, kHidden, kX, kHidden, true, ops::kMatmulAccumulate);
    norm(kX, kNormed2);
    matmul(random, kNormed2, kHidden, kGate, kMiddle, false, 0);
    matmul(random, kNormed2, kHidden, kUp, kMiddle, true, ops::kMatmulBias);
    calls.push_back(OpCall::of(Op::kSiluMul, ops::SiluMulArgs{kMiddle, RowCount::kRows},
                               {kParams, kGate, kUp}));
    matmul(random, kGate, kMiddle, kX, kHidden, true, ops::kMatmulAccumulate);
  }

 private:
  void norm(int x, int y) {
    calls.push_back(OpCall::of(Op::kRmsNorm, ops::RmsNormArgs{kHidden, 1e-6f, RowCount::kRows},
                               {kParams, x, kNorm, y}));
  }
  void matmul(std::mt19937& random, int x, uint32_t k, int y, uint32_t n, bool barrier,
              uint32_t flags) {
    const RandomWeight w = random_weight(random, {n, k, WeightFormat::kQ4, FloatType::kF16, 64});
    const int at = static_cast<int>(contents.size());
    contents.insert(contents.end(), {w.data, w.scales, w.biases});
    calls.push_back(OpCall::of(Op::kMatmul, ops::MatmulArgs{w.args, RowCount::kRows, flags},
                               {kParams, x, at, at + 1, at + 2, kBias, y}, barrier));
  }
};

TEST_P(Parity, ALayerInOneCommandBufferGivesWhatItsOpsGiveOneByOne) {
  std::mt19937 random(7);
  for (const uint32_t rows : {1U, 3U, 8U, 20U, 70U}) {
    for (const bool in_place : {false, true}) {
      if (in_place && rows > 1 && rows < 20) continue;
      const LayerCalls layer(random, rows, in_place);
      const auto together = run_calls(*device_, layer.calls, layer.contents);
      std::vector<Content> apart = layer.contents;
      for (const OpCall& call : layer.calls) apart = run_calls(*device_, {call}, apart);
      for (const int i : {LayerCalls::kX, LayerCalls::kNormed, LayerCalls::kQ, LayerCalls::kK,
                          LayerCalls::kV, LayerCalls::kNormed2, LayerCalls::kGate}) {
        EXPECT_EQ(together[static_cast<size_t>(i)].as<float>(),
                  apart[static_cast<size_t>(i)].as<float>())
            << "buffer " << i << ", " << rows << " rows" << (in_place ? ", in place" : "");
      }
      const auto expected = run_reference(layer.calls, layer.contents);
      EXPECT_LT(relative_error(together[LayerCalls::kX].as<float>(),
                               expected[LayerCalls::kX].as<float>()),
                2 * kTolerance);
    }
  }
}

}  // namespace
}  // namespace krserve::parity
