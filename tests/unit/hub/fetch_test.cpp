// The seam between C++ and the crate; the downloads themselves are tested in tests/hub.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <stdexcept>

#include "hub/resolve_model.h"

namespace krserve::hub {
namespace {

class Fetch : public testing::Test {
 protected:
  Fetch() {
    setenv("HF_HOME", (testing::TempDir() + "krserve_hub_test").c_str(), 1);
    setenv("HF_ENDPOINT", "http://127.0.0.1:1", 1);  // nobody listens there
    unsetenv("HF_HUB_OFFLINE");
  }
};

TEST_F(Fetch, WhatProgressThrowsEndsTheDownloadAndComesOut) {
  EXPECT_THROW(resolve_model("owner/name",
                             [](double, const std::string&) { throw std::logic_error("enough"); }),
               std::logic_error);
}

TEST_F(Fetch, AFailureIsAHubErrorWithTheCratesMessage) {
  setenv("HF_HUB_OFFLINE", "1", 1);
  try {
    resolve_model("owner/name@v1");
    FAIL() << "resolved";
  } catch (const HubError& error) {
    EXPECT_THAT(error.what(), testing::StartsWith("[hub.fetch] owner/name@v1 is not"));
  }
}

TEST_F(Fetch, AnEndpointThatIsNoneIsNamed) {
  setenv("HF_ENDPOINT", "nonsense", 1);
  try {
    resolve_model("owner/name");
    FAIL() << "resolved";
  } catch (const HubError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("HF_ENDPOINT is 'nonsense'"));
  }
}

}  // namespace
}  // namespace krserve::hub
