// The self-test's golden vectors: right on the CPU device, and each can be wrong.
#include "cli/selftest/golden.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "base/error.h"
#include "cli/selftest/report.h"
#include "support/wrong_device.h"

namespace krserve::selftest {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::shared_ptr<Device> cpu(kernels::SimdLevel level) {
  CpuDeviceOptions options;
  options.threads = 2;
  options.simd_level = level;
  return make_cpu_device(options);
}

// Where the last call that binds the content binds it.
test::Fault fault_in(const Case& one, int content) {
  for (size_t i = one.calls.size(); i-- > 0;) {
    const auto& bound = one.calls[i].contents;
    const auto at = std::find(bound.begin(), bound.end(), content);
    if (at != bound.end()) return {i, static_cast<size_t>(at - bound.begin()), 8};
  }
  ADD_FAILURE() << one.name << ": nothing binds content " << content;
  return {};
}

TEST(GoldenVectors, OfAllKernelLevelsOfTheCpuAreRight) {
  const auto reference = cpu(kernels::SimdLevel::kPortable);
  const auto best = make_cpu_device({});
  uint32_t cases = 0;
  for_each_case(Extent::kAll, [&](const Case& one) {
    const Verdict verdict = compare(one, run_calls(*best, one.calls, one.contents),
                                    run_calls(*reference, one.calls, one.contents));
    EXPECT_THAT(verdict.why, IsEmpty()) << one.op << ": " << one.name;
    ++cases;
  });
  EXPECT_GT(cases, 300U);
}

TEST(GoldenVectors, EveryOpOccurs) {
  std::set<ops::Op> ops;
  std::set<std::string> names;
  for_each_case(Extent::kQuick, [&](const Case& one) {
    for (const OpCall& call : one.calls) {
      if (call.kind == OpCall::Kind::kDispatch) ops.insert(call.op);
    }
    EXPECT_TRUE(names.insert(one.op + one.name).second) << one.name << " twice";
  });
  EXPECT_EQ(ops.size(), ops::kOpCount);
}

TEST(GoldenVectors, EachCheckOfEachCaseFindsAWrongResult) {
  const auto right = cpu(kernels::SimdLevel::kPortable);
  for_each_case(Extent::kQuick, [&](const Case& one) {
    const auto expected = run_calls(*right, one.calls, one.contents);
    for (const Check& check : one.checks) {
      test::WrongDevice wrong(right, fault_in(one, check.content));
      const auto results = run_calls(wrong, one.calls, one.contents);
      Case only = one;
      only.checks = {check};
      EXPECT_THAT(compare(only, results, expected).why, HasSubstr("buffer"))
          << one.op << ": " << one.name << ", content " << check.content;
    }
  });
}

TEST(GoldenVectors, AFailureTellsWhereAndHowFarOff) {
  Case one;
  one.checks = {{0, Compare::kF32, 1e-3}};
  const std::vector<Content> expected = {Content::of(Floats{1, 2, 3, 4})};
  const std::vector<Content> results = {Content::of(Floats{1, 2, 3.5F, 4})};
  const Verdict verdict = compare(one, results, expected);
  EXPECT_NEAR(verdict.worst, 0.5 / std::sqrt(30.0) / 1e-3, 1e-6);
  EXPECT_THAT(verdict.why, HasSubstr("furthest off at 2 of 4: 3.5 instead of 3"));
}

TEST(GoldenVectors, NotANumberIsNeverNear) {
  Case one;
  one.checks = {{0, Compare::kF32, 1e-3}};
  const Content numbers = Content::of(Floats{1, 2}), none = Content::of(Floats{1, std::nanf("")});
  EXPECT_THAT(compare(one, {none}, {numbers}).why, HasSubstr("error inf"));
  EXPECT_THAT(compare(one, {numbers}, {none}).why, HasSubstr("error inf"));
  EXPECT_THAT(compare(one, {none}, {none}).why, IsEmpty());
}

TEST(GoldenVectors, HalvesComeBackAsTheyWere) {
  const Floats values = {0.0F,     -0.0F,         1.0F,          -2.5F,
                         65504.0F, 6.1035156e-5F, 5.9604645e-8F, 0.099975586F};
  EXPECT_EQ(from_type(to_type(values, ops::FloatType::kF16), ops::FloatType::kF16), values);
  EXPECT_THAT(from_type(to_type({1e30F}, ops::FloatType::kBF16), ops::FloatType::kBF16)[0] / 1e30F,
              ::testing::FloatNear(1, 0.005F));
  EXPECT_EQ(
      from_type(to_type({1.0F, -2.5F, 3.140625F}, ops::FloatType::kBF16), ops::FloatType::kBF16),
      (Floats{1.0F, -2.5F, 3.140625F}));
}

class Lines {
 public:
  Report::Write write() {
    return [this](std::string_view text) { text_ += text; };
  }
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

TEST(CheckGolden, ReportsARightDeviceWithALineForEachOp) {
  Lines lines;
  Report report(lines.write());
  report.begin("title");
  const auto right = cpu(kernels::SimdLevel::kPortable);
  report.section("golden", [&](CheckLog& log) {
    check_golden(log, [&] { return right; }, *right, Extent::kQuick);
  });
  report.end();
  EXPECT_EQ(report.failures(), 0U);
  for (const char* op : {"matmul", "attention", "sample", "copy", "layer", "embed_rows"}) {
    EXPECT_THAT(lines.text(), HasSubstr("\n  " + std::string(op))) << op;
  }
  EXPECT_THAT(lines.text(), HasSubstr("equal to the bit"));
}

TEST(CheckGolden, NamesTheCasesOfAWrongDevice) {
  Lines lines;
  Report report(lines.write());
  report.begin("title");
  const auto right = cpu(kernels::SimdLevel::kPortable);
  // Not the parameters, which lead the kernels.
  const auto wrong = std::make_shared<test::WrongDevice>(right, test::Fault{0, 1, 4});
  report.section("golden", [&](CheckLog& log) {
    check_golden(log, [&] { return wrong; }, *right, Extent::kQuick);
  });
  report.end();
  EXPECT_GT(report.failures(), 0U);
  EXPECT_THAT(lines.text(),
              HasSubstr("FAILED  count_tokens: vocabulary 1000: buffer 1: must be equal"));
}

TEST(CheckGolden, OpensTheDeviceAgainAfterItThrewAndGivesUpAfterAWhile) {
  Lines lines;
  Report report(lines.write());
  report.begin("title");
  int opened = 0;
  report.section("golden", [&](CheckLog& log) {
    check_golden(
        log,
        [&]() -> std::shared_ptr<Device> {
          if (++opened > 1) throw DeviceError("device.open", "gone");
          return make_cpu_device({});
        },
        *make_cpu_device({}), Extent::kQuick);
  });
  EXPECT_EQ(report.failures(), 0U) << "nothing threw, so nothing was opened again";
  EXPECT_EQ(opened, 1);
  opened = 0;
  report.section("again", [&](CheckLog& log) {
    check_golden(
        log,
        [&]() -> std::shared_ptr<Device> {
          if (++opened > 1) throw DeviceError("device.open", "gone");
          return nullptr;
        },
        *make_cpu_device({}), Extent::kQuick);
  });
  EXPECT_EQ(report.failures(), 4U);
  EXPECT_EQ(opened, 5);
  EXPECT_THAT(lines.text(), HasSubstr("[device.open] gone"));
  EXPECT_THAT(lines.text(), HasSubstr("the device does not run"));
}

}  // namespace
}  // namespace krserve::selftest
