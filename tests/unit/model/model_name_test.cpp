#include "model/formats/model_name.h"

#include <gtest/gtest.h>

namespace krserve {
namespace {

TEST(ModelNameOfDirectory, IsTheDirectorysName) {
  EXPECT_EQ(model_name("/data/some-model"), "some-model");
  EXPECT_EQ(model_name("/data/some-model/"), "some-model");
  EXPECT_EQ(model_name("/data/snapshots/0123"), "0123");
}

TEST(ModelNameOfDirectory, IsTheRepositoryForASnapshotOfTheCache) {
  EXPECT_EQ(model_name("/cache/hub/models--owner--a-name/snapshots/0123"), "owner/a-name");
}

}  // namespace
}  // namespace krserve
