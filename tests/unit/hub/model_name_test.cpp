#include "hub/model_name.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "hub/resolve_model.h"

namespace krserve::hub {
namespace {

TEST(ModelName, AnIdHasOneOwnerAndOneName) {
  const auto id = parse_model_id("some-owner/Model-1.5_b");
  ASSERT_TRUE(id);
  EXPECT_EQ(id->repository, "some-owner/Model-1.5_b");
  EXPECT_EQ(id->revision, "main");
}

TEST(ModelName, ARevisionFollowsTheAtSign) {
  const auto id = parse_model_id("owner/name@refs/pr/3");
  ASSERT_TRUE(id);
  EXPECT_EQ(id->repository, "owner/name");
  EXPECT_EQ(id->revision, "refs/pr/3");
}

TEST(ModelName, PathsAndOtherTextAreNoIds) {
  for (const char* text :
       {"", "name", "/owner/name", "./name", "../name", "a/b/c", "owner/", "/name", "owner/na me",
        "owner/name@", "owner/name@a//b", "owner/name@../x", "owner/..", "-o/name", "owner/a..b",
        "https://host/owner"}) {
    EXPECT_FALSE(parse_model_id(text)) << text;
  }
}

TEST(ModelName, ADirectoryIsReturnedAsItWasGiven) {
  EXPECT_EQ(resolve_model(KR_SOURCE_DIR "/models/tiny"), KR_SOURCE_DIR "/models/tiny");
}

TEST(ModelName, TinyIsFoundFromTheProgramsOwnPlace) {
  const auto tiny = resolve_model("tiny");
  EXPECT_TRUE(std::filesystem::equivalent(tiny, KR_SOURCE_DIR "/models/tiny")) << tiny;
}

TEST(ModelName, WhatIsNeitherSaysWhatMayBeGiven) {
  try {
    resolve_model("/nowhere/at/all");
    FAIL() << "resolved";
  } catch (const ModelError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("'/nowhere/at/all' is not a directory"));
    EXPECT_THAT(error.what(), testing::HasSubstr("owner/name@revision"));
  }
}

}  // namespace
}  // namespace krserve::hub
