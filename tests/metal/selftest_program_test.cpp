// The program itself on the model of Metal: the run within the run, and exit statuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/selftest/child.h"

namespace krserve::selftest {
namespace {

using ::testing::HasSubstr;

const std::string kModel = std::string(KR_SOURCE_DIR) + "/tests/golden/data/qwen2-q4-g64";

TEST(MetalSelftestProgram, RunsItselfWithValidationAndTellsAll) {
  const ChildResult run = run_child(KR_PROGRAM, {"metal-selftest", "--quick", "--model", kModel},
                                    {}, std::chrono::seconds(500));
  EXPECT_EQ(run.exit_code, 0) << run.out << run.err;
  EXPECT_THAT(run.out, HasSubstr("ok      validation: 2 ok, 0 failed"));
  EXPECT_THAT(run.out, HasSubstr("nothing failed\n```\n"));
}

TEST(MetalSelftestProgram, GoesOnWhereThePathAskedForIsNotThere) {
  const ChildResult run =
      run_child(KR_PROGRAM, {"metal-selftest", "--quick", "--no-validation", "--path", "metal4"},
                {"KR_METAL_SIM=macos=15"}, std::chrono::seconds(500));
  EXPECT_EQ(run.exit_code, 1);
  EXPECT_THAT(run.out, HasSubstr("FAILED  golden vectors: [device.open]"));
  EXPECT_THAT(run.out, HasSubstr("ok      messages"));
}

}  // namespace
}  // namespace krserve::selftest
