// The self-test's report, its children and its command: what a reader of an issue gets to see.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>

#include "base/error.h"
#include "base/process.h"
#include "cli/selftest/child.h"
#include "cli/selftest/crash_note.h"
#include "cli/selftest/measure.h"
#include "cli/selftest/model_check.h"
#include "cli/selftest/report.h"
#include "cli/selftest/selftest.h"
#include "device/cpu/cpu_device.h"

namespace krserve::selftest {
namespace {

using ::testing::ElementsAre;
using ::testing::Ge;
using ::testing::HasSubstr;
using ::testing::SizeIs;

class ReportTest : public ::testing::Test {
 protected:
  std::string text_;
  std::vector<std::string> notes_;
  Report report_{[this](std::string_view text) { text_ += text; },
                 [this](const std::string& note) { notes_.push_back(note); }};
};

TEST_F(ReportTest, IsFencedAndEndsWithASummary) {
  report_.begin("krserve selftest");
  report_.section("one", [](CheckLog& log) {
    log.passed("a");
    log.passed("b");
    log.not_run("c", "no reason");
  });
  report_.section("two", [](CheckLog& log) { log.fact("name", "value"); });
  report_.end();
  EXPECT_EQ(text_,
            "```text\n"
            "krserve selftest\n"
            "\none\n"
            "  not run c: no reason\n"
            "  ok      one: 2 ok, 0 failed, 1 not run\n"
            "\ntwo\n"
            "  name                               value\n"
            "\nsummary\n"
            "  ok      one: 2 ok, 0 failed, 1 not run\n"
            "  nothing failed\n"
            "```\n");
  EXPECT_EQ(report_.failures(), 0U);
}

TEST_F(ReportTest, FailuresAreWrittenOutWithAllTheirLines) {
  report_.begin("title");
  report_.section("kernels", [](CheckLog& log) {
    log.failed("the text", "program_source:1: error: no\n  here\n");
    log.passed("another");
  });
  report_.end();
  EXPECT_THAT(text_, HasSubstr("  FAILED  the text: program_source:1: error: no\n"
                               "            here\n"
                               "  FAILED  kernels: 1 ok, 1 failed, 0 not run\n"));
  EXPECT_THAT(text_, HasSubstr("  1 FAILED: please report all of this\n"));
  EXPECT_EQ(report_.failures(), 1U);
}

TEST_F(ReportTest, WhatASectionThrowsIsAFailureAndTheNextOneRuns) {
  report_.begin("title");
  report_.section("first", [](CheckLog&) { throw DeviceError("device.open", "no GPU"); });
  report_.section("second", [](CheckLog& log) { log.passed("all"); });
  EXPECT_THAT(text_, HasSubstr("FAILED  first: [device.open] no GPU"));
  EXPECT_THAT(text_, HasSubstr("ok      second: 1 ok"));
}

TEST_F(ReportTest, ReasonsForNotRunningAreToldOnceWithAFewNames) {
  report_.begin("title");
  report_.section("messages", [](CheckLog& log) {
    for (const char* name : {"a", "b", "c", "d", "e"}) log.not_run(name, "needs macOS 26");
    log.not_run("f", "another");
  });
  EXPECT_THAT(text_, HasSubstr("  not run a, b, c and 2 more: needs macOS 26\n"));
  EXPECT_THAT(text_, HasSubstr("  not run f: another\n"));
  EXPECT_THAT(text_, HasSubstr("  not run messages: 0 ok, 0 failed, 6 not run\n"));
}

TEST_F(ReportTest, ManyFailuresAreCutInTheTextAndNotInTheJson) {
  report_.begin("title");
  report_.section("golden", [](CheckLog& log) {
    for (int i = 0; i < 500; ++i) log.failed("case " + std::to_string(i), "wrong");
  });
  EXPECT_LT(std::count(text_.begin(), text_.end(), '\n'), 40);
  EXPECT_THAT(text_, HasSubstr("... and 480 more failures"));
  EXPECT_THAT(report_.json()["sections"][0]["failed"], SizeIs(500));
  EXPECT_EQ(report_.json()["failures"], 500);
}

TEST_F(ReportTest, MeasurementsHaveMedianAndNinetiethPercentile) {
  std::vector<double> samples;
  for (int i = 100; i > 0; --i) samples.push_back(i);
  report_.begin("title");
  report_.section("measured", [&](CheckLog& log) { log.measured("round trip", "us", samples); });
  EXPECT_THAT(text_, HasSubstr("round trip"));
  EXPECT_THAT(text_, HasSubstr("50 us    p90       90  of 100\n"));
  const auto json = report_.json()["sections"][0]["measured"]["round trip"];
  EXPECT_EQ(json["median"], 50);
  EXPECT_EQ(json["p90"], 90);
  EXPECT_EQ(json["min"], 1);
  EXPECT_EQ(json["max"], 100);
  EXPECT_EQ(json["unit"], "us");
}

TEST_F(ReportTest, NotesNameTheSectionAndWhatItDoes) {
  report_.begin("title");
  report_.section("messages", [](CheckLog& log) { log.doing("-[MTLHeap size]"); });
  EXPECT_THAT(notes_, ElementsAre("messages: start", "messages: -[MTLHeap size]"));
}

TEST(Quantile, OfFewValuesIsOneOfThem) {
  EXPECT_EQ(quantile({7}, 0.5), 7);
  EXPECT_EQ(quantile({3, 1, 2}, 0.5), 2);
  EXPECT_EQ(quantile({3, 1, 2}, 0.9), 3);
  EXPECT_EQ(quantile({3, 1, 2}, 0), 1);
}

TEST(RunChild, TellsOutputsExitStatusAndEnvironment) {
  const ChildResult child = run_child("/bin/sh", {"-c", "echo out $KR_ONE; echo err >&2; exit 3"},
                                      {"KR_ONE=1"}, std::chrono::seconds(60));
  EXPECT_EQ(child.out, "out 1\n");
  EXPECT_EQ(child.err, "err\n");
  EXPECT_EQ(child.exit_code, 3);
  EXPECT_EQ(child.signal, 0);
}

TEST(RunChild, TellsTheSignalOfACrash) {
  const ChildResult child =
      run_child("/bin/sh", {"-c", "echo before; kill -ABRT $$"}, {}, std::chrono::seconds(60));
  EXPECT_EQ(child.out, "before\n");
  EXPECT_EQ(child.signal, SIGABRT);
  EXPECT_EQ(child.exit_code, -1);
}

TEST(RunChild, EndsAChildThatHangs) {
  const ChildResult child =
      run_child("/bin/sh", {"-c", "echo first; exec sleep 1000"}, {}, std::chrono::seconds(1));
  EXPECT_TRUE(child.timed_out);
  EXPECT_EQ(child.signal, SIGKILL);
  EXPECT_EQ(child.out, "first\n");
}

TEST(RunChild, MuchOutputOfBothKindsDoesNotBlock) {
  const ChildResult child =
      run_child("/bin/sh",
                {"-c",
                 "i=0; while [ $i -lt 20000 ]; do echo 1234567890; echo abc >&2; "
                 "i=$((i+1)); done"},
                {}, std::chrono::seconds(120));
  EXPECT_EQ(child.out.size(), 20000U * 11);
  EXPECT_EQ(child.err.size(), 20000U * 4);
}

TEST(RunChild, AProgramThatIsNotThereIsAnError) {
  EXPECT_THROW(run_child("/no/such/program", {}, {}, std::chrono::seconds(5)), Error);
}

TEST(TellingLines, AreTheReportsFailuresAndWhatMetalSays) {
  EXPECT_THAT(
      telling_lines("```text\n  ok      one: 2 ok\n  FAILED  matmul: x: buffer 6\n  FAILED  "
                    "matmul: x: buffer 6\n",
                    "Metal API Validation Enabled\n\n-[MTLDebugDevice foo]\n"),
      ElementsAre("FAILED  matmul: x: buffer 6", "Metal API Validation Enabled",
                  "-[MTLDebugDevice foo]"));
}

TEST(TellingLines, ThatComplainAreToldFromThoseThatAnnounce) {
  EXPECT_TRUE(is_complaint("Invalid device store at offset 128000, executing kernel \"k\""));
  EXPECT_TRUE(is_complaint("validateX:1066: failed assertion `Compute Function(f): bytes'"));
  EXPECT_TRUE(is_complaint("Copy From Buffer Validation"));
  EXPECT_FALSE(is_complaint("2026-01-01 12:00:00 krserve[1:2] Metal API Validation Enabled"));
  EXPECT_FALSE(is_complaint("Metal GPU Validation Enabled"));
  EXPECT_FALSE(is_complaint("buffer: <unnamed>, length:4096, resident:Read Write"));
}

TEST(ExecutablePath, IsThisTest) {
  EXPECT_THAT(executable_path(), ::testing::EndsWith("/selftest_test"));
}

TEST(CrashNoteDeathTest, NamesWhatWasUnderWay) {
  EXPECT_EXIT(
      {
        dup2(2, 1);  // where the test looks
        install_crash_note();
        set_crash_note("messages: -[MTLHeap size]");
        std::abort();
      },
      ::testing::KilledBySignal(SIGABRT),
      HasSubstr("FAILED  the process was ended by signal 06 in messages: -[MTLHeap size]\n```"));
}

TEST_F(ReportTest, CostsOfTheCpuDeviceAreMeasured) {
  report_.begin("title");
  report_.section("measured",
                  [](CheckLog& log) { measure_device(log, make_cpu_device({}), 3, 1 << 20); });
  EXPECT_EQ(report_.failures(), 0U) << text_;
  const auto measured = report_.json()["sections"][0]["measured"];
  EXPECT_THAT(measured, SizeIs(Ge(15U)));
  for (const auto& [name, value] : measured.items()) {
    EXPECT_GT(value["median"], -1e5) << name;
    if (value["unit"] != "GB/s") continue;
    EXPECT_GT(value["min"], 0) << name;
  }
}

TEST_F(ReportTest, TheModelsTokensOnTheCpuAreTheCpus) {
  report_.begin("title");
  report_.section("model", [](CheckLog& log) {
    check_model(
        log, [] { return make_cpu_device({}); }, std::string(KR_SOURCE_DIR) + "/models/tiny",
        Extent::kAll);
  });
  EXPECT_EQ(report_.failures(), 0U) << text_;
  EXPECT_THAT(text_, HasSubstr("ok      model: 3 ok"));
}

TEST_F(ReportTest, ADeviceThatFailsWithOneCombinationIsNamedWithIt) {
  report_.begin("title");
  int opened = 0;
  report_.section("model", [&](CheckLog& log) {
    check_model(
        log,
        [&]() -> std::shared_ptr<Device> {
          if (++opened == 2) throw DeviceError("device.open", "lost");
          return make_cpu_device({});
        },
        std::string(KR_SOURCE_DIR) + "/models/tiny", Extent::kQuick);
  });
  EXPECT_EQ(report_.failures(), 1U);
  EXPECT_THAT(text_, HasSubstr("FAILED  all on, ring of 2: [device.open] lost"));
}

}  // namespace
}  // namespace krserve::selftest
