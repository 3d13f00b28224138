// krserve metal-selftest on the model of Metal: all is well on both paths, and what is wrong with a
// system is named.
#include "cli/selftest/selftest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "cli/selftest/golden.h"
#include "device/metal/api/objc.h"
#include "device/metal_checks.h"
#include "kernels/entry/simt_kernels.h"
#include "kernels/metal_kernels.h"
#include "metal/fake/gpu.h"
#include "metal/fake/kernels.h"

namespace krserve::selftest {
namespace {

using fake_metal::Gpu;
using fake_metal::Method;
using fake_metal::Runtime;
using ::testing::AllOf;
using ::testing::HasSubstr;

// Small: the model of Metal runs the kernels on an emulator.
const std::string kModel = std::string(KR_SOURCE_DIR) + "/tests/golden/data/qwen2-q4-g64";

class MetalSelftest : public ::testing::Test {
 protected:
  void use_macos(int macos) {
    fake_metal::Options options;
    options.macos = macos;
    Gpu::get().reset(options);
  }
  void SetUp() override { use_macos(26); }
  void TearDown() override { use_macos(26); }

  void run(const std::string& name, const std::function<void(CheckLog&)>& section) {
    report_.begin("title");
    report_.section(name, section);
    report_.end();
  }
  void run_golden() {
    run("golden", [](CheckLog& log) {
      check_golden(
          log, [] { return open_back_end("metal"); }, *open_back_end("cpu"), Extent::kQuick);
    });
  }

  std::string text_;
  Report report_{[this](std::string_view text) { text_ += text; }};
};

// A method taken out of the system, or changed, for as long as it lives.
class OtherMethod {
 public:
  OtherMethod(const char* of, const char* selector)
      : methods_(Runtime::get().find_class(of)->methods(false)),
        selector_(sel_registerName(selector)),
        method_(methods_.at(selector_)) {
    methods_.erase(selector_);
  }
  OtherMethod(const char* of, const char* selector, const std::string& encoding)
      : OtherMethod(of, selector) {
    Method other = method_;
    other.encoding = encoding;
    methods_.emplace(selector_, other);
  }
  ~OtherMethod() { methods_[selector_] = method_; }

 private:
  std::map<metal::Selector, Method>& methods_;
  metal::Selector selector_;
  Method method_;
};

class MetalSelftestOfSystems : public MetalSelftest, public ::testing::WithParamInterface<int> {};

TEST_P(MetalSelftestOfSystems, NothingFailsAndTheReportIsShort) {
  use_macos(GetParam());
  Options options;
  options.quick = true;
  options.validation = false;
  options.model = kModel;
  report_.begin("title");
  run_selftest(report_, options);
  report_.end();
  EXPECT_EQ(report_.failures(), 0U) << text_;
  EXPECT_LT(std::count(text_.begin(), text_.end(), '\n'), 200) << text_;
  EXPECT_THAT(text_, HasSubstr(GetParam() == 26 ? "Metal 4: the system and the device have it"
                                                : "Metal 3: the system has no Metal 4"));
}
INSTANTIATE_TEST_SUITE_P(Macos, MetalSelftestOfSystems, ::testing::Values(14, 15, 26),
                         [](const auto& one) { return std::to_string(one.param); });

TEST_F(MetalSelftest, NothingFailsOnThePathOfMetal3WhereMetal4Is) {
  Options options;
  options.path = "metal3";
  options.quick = true;
  options.validation = false;
  options.model = kModel;
  report_.begin("title");
  run_selftest(report_, options);
  EXPECT_EQ(report_.failures(), 0U) << text_;
  EXPECT_THAT(text_, HasSubstr("Metal 3, as asked"));
}

TEST_F(MetalSelftest, EveryMessageIsAskedFor) {
  run("messages", check_metal_messages);
  const auto json = report_.json()["sections"][0];
  EXPECT_EQ(json["passed"].size(), metal::all_messages().size()) << text_;
}

TEST_F(MetalSelftest, MessagesOfLaterSystemsAreNotRunOnOlderOnes) {
  use_macos(14);
  run("messages", check_metal_messages);
  EXPECT_EQ(report_.failures(), 0U) << text_;
  EXPECT_THAT(text_, AllOf(HasSubstr("it came with macOS 15"), HasSubstr("it came with macOS 26")));
}

TEST_F(MetalSelftest, AMissingSelectorIsNamed) {
  const OtherMethod missing("MTLHeap", "newBufferWithLength:options:offset:");
  run("messages", check_metal_messages);
  EXPECT_EQ(report_.failures(), 1U) << text_;
  EXPECT_THAT(text_, HasSubstr("FAILED  -[MTLHeap newBufferWithLength:options:offset:]: MTLHeap "
                               "does not respond to it"));
}

TEST_F(MetalSelftest, AMessageOfOtherTypesIsNamedWithBoth) {
  const OtherMethod other("MTLSharedEvent", "waitUntilSignaledValue:timeoutMS:", "B@:Qd");
  run("messages", check_metal_messages);
  EXPECT_EQ(report_.failures(), 1U) << text_;
  EXPECT_THAT(text_, HasSubstr("FAILED  -[MTLSharedEvent waitUntilSignaledValue:timeoutMS:]: types "
                               "B64@0:8Q16d24 of MTLSharedEvent, sent as B@:QQ"));
}

TEST_F(MetalSelftest, WhatTheCompilerSaysIsInTheReport) {
  Gpu::get().fail_compilation("program_source:12:3: error: use of undeclared identifier 'bfloat'");
  run("kernels", check_metal_kernels);
  EXPECT_EQ(report_.failures(), 1U) << text_;
  EXPECT_THAT(text_,
              AllOf(HasSubstr("FAILED  the kernels' text in Metal 3.1"),
                    HasSubstr("use of undeclared identifier 'bfloat'"), HasSubstr("ok, 1 failed")));
}

TEST_F(MetalSelftest, AThreadgroupThatIsTooSmallForAKernelIsNamed) {
  fake_metal::Options options;
  options.max_threads = 512;
  Gpu::get().reset(options);
  run("kernels", check_metal_kernels);
  EXPECT_THAT(text_, HasSubstr("FAILED  kr_sample in 3.2: threadgroups of at most 512 threads; it "
                               "is launched with 1024"));
}

TEST_F(MetalSelftest, AFailingCommandBufferFailsItsCaseAlone) {
  // The first case's upload, and so on: any of its submissions.
  Gpu::get().fail_submission(2, {8, "Insufficient Memory (00000008)"});
  run_golden();
  EXPECT_EQ(report_.failures(), 1U) << text_;
  EXPECT_THAT(text_, HasSubstr("Insufficient Memory"));
}

TEST_F(MetalSelftest, AKernelThatDoesNothingIsFoundByItsOp) {
  const uint32_t number = 3;
  const std::string name = kernels::metal::kernel_names()[number];
  ASSERT_EQ(name, "kr_silu_mul");
  const auto params = [](const fake_metal::Launch&) { return sizeof(kernels::DialectParams); };
  fake_metal::HostKernel kernel{name, {{0, false, params}}, 0, [](const fake_metal::Launch&) {}};
  register_kernel(kernel);
  run_golden();
  kernel.run = nullptr;
  kernel.id = static_cast<kernels::single_source::KernelId>(number);
  kernel.simt = static_cast<const kernels::SimtKernel*>(kernels::simt_metal_kernel(number));
  register_kernel(kernel);
  EXPECT_GE(report_.failures(), 3U) << text_;
  EXPECT_THAT(text_, HasSubstr("FAILED  silu_mul: 3 of 1024: buffer 1: error"));
  EXPECT_THAT(text_, HasSubstr("FAILED  layer: q4, 3 rows"));
}

TEST_F(MetalSelftest, MetalsOwnCostsAreMeasuredOnBothPaths) {
  for (const MetalPath path : {MetalPath::kMetal3, MetalPath::kMetal4}) {
    run("measured", [path](CheckLog& log) { measure_metal(log, path, 3); });
  }
  EXPECT_EQ(report_.failures(), 0U) << text_;
  for (const auto& section : report_.json()["sections"]) {
    EXPECT_GE(section["measured"].size(), 10U);
    for (const auto& [name, value] : section["measured"].items()) {
      EXPECT_GE(value["max"], 0) << name;
    }
  }
}

}  // namespace
}  // namespace krserve::selftest
