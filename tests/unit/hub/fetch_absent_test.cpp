// Of the build without the crates.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "hub/resolve_model.h"

namespace krserve::hub {
namespace {

TEST(Fetch, AnIdSaysThatThisBuildCannotDownload) {
  try {
    resolve_model("owner/name");
    FAIL() << "resolved";
  } catch (const HubError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("KRSERVE_CRATES=ON"));
    EXPECT_THAT(error.what(), testing::HasSubstr("owner/name"));
  }
}

}  // namespace
}  // namespace krserve::hub
