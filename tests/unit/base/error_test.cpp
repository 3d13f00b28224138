#include "base/error.h"

#include <gtest/gtest.h>

#include <type_traits>

namespace krserve {
namespace {

TEST(Error, MessageStartsWithWhereInBrackets) {
  const ModelError error("safetensors.open", "8 bytes; expected at least 10");
  EXPECT_STREQ(error.what(), "[safetensors.open] 8 bytes; expected at least 10");
  EXPECT_EQ(error.where(), "safetensors.open");
}

TEST(Error, ThrowErrorFormatsAndKeepsTheType) {
  try {
    throw_error<OutOfMemoryError>("memory_pool.allocate", "{} MiB refused: {} free", 96, 5);
    FAIL() << "did not throw";
  } catch (const OutOfMemoryError& error) {
    EXPECT_STREQ(error.what(), "[memory_pool.allocate] 96 MiB refused: 5 free");
  }
}

TEST(Error, KindsAreCaughtAsErrorAndDoNotMixWithEachOther) {
  EXPECT_THROW(throw_error<TimeoutError>("a.b", "c"), Error);
  EXPECT_THROW(throw_error<TimeoutError>("a.b", "c"), std::runtime_error);
  static_assert(!std::is_base_of_v<ConfigError, UsageError>);
  static_assert(!std::is_base_of_v<DeviceError, TimeoutError>);
}

}  // namespace
}  // namespace krserve
