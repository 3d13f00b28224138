// matmul in every format at ragged sizes, and a layer's ops in one command buffer.
#include <fmt/format.h>

#include "cli/selftest/cases.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/rms_norm.h"
#include "kernels/ops/silu_mul.h"

namespace krserve::selftest {
namespace {

using ops::FloatType;
using ops::Op;
using ops::RowCount;
using ops::WeightArgs;
using ops::WeightFormat;

// As in tests/parity: activations and unpacked weights may be halves.
constexpr double kBound = 1e-3;
constexpr uint32_t kBiasAndResidual = ops::kMatmulBias | ops::kMatmulAccumulate;

std::string name_of_weight(const WeightArgs& w) {
  if (w.group_size == 0) return fmt::format("{} n {} k {}", name_of(w.format), w.n, w.k);
  return fmt::format("{} {}/{} n {} k {}", name_of(w.format), name_of(w.scale_type), w.group_size,
                     w.n, w.k);
}

// A step whose rows are a prompt's but for some.
Content step_of_prompts(uint32_t rows) {
  StepRows step;
  step.rows.resize(rows);
  for (uint32_t i = 0; i < rows; ++i) step.rows[i].flags = i % 5 == 3 ? 0U : 1U * ops::kRowPrompt;
  return step.content();
}

// The step has `rows` of the `capacity` rows; the rest must stay as it is.
void product(const WeightArgs& weight, uint32_t rows, uint32_t capacity, uint32_t flags,
             float scale, const CaseSink& sink) {
  std::mt19937 random(7 + rows);
  const RandomWeight w = random_weight(random, weight);
  Case one{"matmul", fmt::format("{}, {} rows", name_of_weight(weight), rows), {}, {}, {}};
  if (flags & kBiasAndResidual) one.name += ", bias and residual";
  if (flags & ops::kMatmulPrompts) one.name += ", of prompts";
  if (capacity > rows) one.name += fmt::format(" of {}", capacity);
  if (scale != 1.0F) one.name += fmt::format(", x of {:g}", scale);
  one.contents = {flags & ops::kMatmulPrompts ? step_of_prompts(rows) : step_header(rows),
                  Content::of(random_floats(random, size_t{capacity} * weight.k, scale)),
                  w.data,
                  w.scales,
                  w.biases,
                  Content::of(random_floats(random, weight.n)),
                  Content::of(random_floats(random, size_t{capacity} * weight.n))};
  one.calls = {OpCall::of(Op::kMatmul, ops::MatmulArgs{weight, RowCount::kRows, flags},
                          {0, 1, 2, 3, 4, 5, 6})};
  one.checks = {{6, Compare::kF32, kBound}};
  sink(one);
}

const WeightArgs kWeights[] = {
    {80, 96, WeightFormat::kQ4, FloatType::kF16, 32},
    {65, 896, WeightFormat::kQ4, FloatType::kBF16, 64},
    {48, 1152, WeightFormat::kQ4, FloatType::kF32, 128},
    {33, 320, WeightFormat::kQ8, FloatType::kF16, 32},
    {40, 896, WeightFormat::kQ8, FloatType::kBF16, 64},
    {24, 256, WeightFormat::kQ8, FloatType::kF32, 128},
    {31, 200, WeightFormat::kF16, FloatType::kF32, 0},
    {50, 328, WeightFormat::kBF16, FloatType::kF32, 0},
    {40, 77, WeightFormat::kBF16, FloatType::kF32, 0},
    {17, 64, WeightFormat::kF32, FloatType::kF32, 0},
};

// norm | q k v | o, norm | gate up | silu | down, as a layer has them: what may be merged or run
// side by side.
class Layer {
 public:
  static constexpr uint32_t kHidden = 128, kKv = 48, kMiddle = 320;
  enum : int { kParams, kX, kNorm, kNormed, kQ, kK, kV, kNormed2, kGate, kUp, kBias };

  Layer(uint32_t rows, WeightFormat format) : format_(format), random_(rows) {
    case_.op = "layer";
    case_.name = fmt::format("{}, {} rows", name_of(format), rows);
    case_.contents = {step_header(rows)};
    floats(size_t{rows} * kHidden);
    floats(kHidden);
    for (const uint32_t width : {kHidden, kHidden, kKv, kKv, kHidden, kMiddle, kMiddle}) {
      floats(size_t{rows} * width);
    }
    floats(kMiddle);
    norm(kX, kNormed);
    matmul(kNormed, kHidden, kQ, kHidden, false, ops::kMatmulBias);
    matmul(kNormed, kHidden, kK, kKv, false, ops::kMatmulBias);
    matmul(kNormed, kHidden, kV, kKv, true, 0);
    matmul(kQ, kHidden, kX, kHidden, true, ops::kMatmulAccumulate);
    norm(kX, kNormed2);
    matmul(kNormed2, kHidden, kGate, kMiddle, false, 0);
    matmul(kNormed2, kHidden, kUp, kMiddle, true, ops::kMatmulBias);
    case_.calls.push_back(OpCall::of(Op::kSiluMul, ops::SiluMulArgs{kMiddle, RowCount::kRows},
                                     {kParams, kGate, kUp}));
    matmul(kGate, kMiddle, kX, kHidden, true, ops::kMatmulAccumulate);
    for (const int content : {kX, kK, kV}) {
      case_.checks.push_back({content, Compare::kF32, 2 * kBound});
    }
  }

  const Case& get() const { return case_; }

 private:
  void floats(size_t count) {
    case_.contents.push_back(Content::of(random_floats(random_, count)));
  }
  void norm(int x, int y) {
    case_.calls.push_back(OpCall::of(
        Op::kRmsNorm, ops::RmsNormArgs{kHidden, 1e-6F, RowCount::kRows}, {kParams, x, kNorm, y}));
  }
  void matmul(int x, uint32_t k, int y, uint32_t n, bool barrier, uint32_t flags) {
    const bool is_quantized = format_ == WeightFormat::kQ4 || format_ == WeightFormat::kQ8;
    const RandomWeight w =
        random_weight(random_, {n, k, format_, FloatType::kF16, is_quantized ? 64U : 0U});
    const int at = static_cast<int>(case_.contents.size());
    case_.contents.insert(case_.contents.end(), {w.data, w.scales, w.biases});
    case_.calls.push_back(OpCall::of(Op::kMatmul, ops::MatmulArgs{w.args, RowCount::kRows, flags},
                                     {kParams, x, at, at + 1, at + 2, kBias, y}, barrier));
  }

  WeightFormat format_;
  std::mt19937 random_;
  Case case_;
};

}  // namespace

void matmul_cases(Extent extent, const CaseSink& sink) {
  const bool all = extent == Extent::kAll;
  const std::vector<uint32_t> row_counts =
      all ? std::vector<uint32_t>{1, 2, 7, 8, 9, 33} : std::vector<uint32_t>{1, 9};
  for (const WeightArgs& weight : kWeights) {
    for (const uint32_t rows : row_counts) {
      product(weight, rows, rows, 0, 1.0F, sink);
      if (all || rows > 1) product(weight, rows, rows, kBiasAndResidual, 1.0F, sink);
    }
    product(weight, 5, 11, 0, 1.0F, sink);
    // What prompts may have a kernel of their own for.
    product(weight, 37, 39, ops::kMatmulPrompts | kBiasAndResidual, 1.0F, sink);
    if (all) product(weight, 3, 3, ops::kMatmulPrompts, 1.0F, sink);
  }
  for (const uint32_t rows : all ? std::vector<uint32_t>{64, 65, 130} : std::vector<uint32_t>{70}) {
    product({40, 256, WeightFormat::kQ4, FloatType::kF16, 64}, rows, rows, 0, 1.0F, sink);
    if (!all) continue;
    product({72, 128, WeightFormat::kQ8, FloatType::kBF16, 64}, rows, rows, kBiasAndResidual, 1.0F,
            sink);
    product({33, 200, WeightFormat::kBF16, FloatType::kF32, 0}, rows, rows, 0, 1.0F, sink);
    product({40, 77, WeightFormat::kF16, FloatType::kF32, 0}, rows, rows, 0, 1.0F, sink);
    product({17, 64, WeightFormat::kF32, FloatType::kF32, 0}, rows, rows, 0, 1.0F, sink);
  }
  const WeightArgs plain{64, 512, WeightFormat::kQ4, FloatType::kF16, 64};
  for (const float scale : {1e-6F, 3e4F, 1e8F}) product(plain, 2, 2, 0, scale, sink);
  if (all) product({24, 4864, WeightFormat::kQ4, FloatType::kBF16, 64}, 3, 3, 0, 1.0F, sink);
}

void layer_cases(Extent extent, const CaseSink& sink) {
  for (const WeightFormat format : {WeightFormat::kQ4, WeightFormat::kBF16}) {
    sink(Layer(3, format).get());
    if (extent == Extent::kQuick) continue;
    for (const uint32_t rows : {1U, 20U, 70U}) sink(Layer(rows, format).get());
  }
}

}  // namespace krserve::selftest
