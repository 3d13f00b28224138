#include "base/machine.h"

#include <gtest/gtest.h>

#include "base/units.h"

namespace krserve {
namespace {

TEST(SystemVersion, IsReadFromItsText) {
  EXPECT_EQ(parse_system_version("26.1"), (SystemVersion{26, 1}));
  EXPECT_EQ(parse_system_version("15.5.1"), (SystemVersion{15, 5}));
  EXPECT_EQ(parse_system_version("14"), (SystemVersion{14, 0}));
  EXPECT_EQ(parse_system_version("6.1.0-13-amd64"), (SystemVersion{6, 1}));
  EXPECT_EQ(parse_system_version(""), SystemVersion{});
  EXPECT_EQ(parse_system_version("x.2"), SystemVersion{});
}

TEST(SystemVersion, IsOrderedByMajorThenMinor) {
  EXPECT_LT((SystemVersion{15, 9}), (SystemVersion{26, 0}));
  EXPECT_LT((SystemVersion{26, 0}), (SystemVersion{26, 1}));
}

TEST(MachineFacts, OfThisMachineAreKnown) {
  const MachineFacts facts = machine_facts();
  EXPECT_FALSE(facts.system.empty());
  EXPECT_GT(facts.version.major, 0U);
  EXPECT_FALSE(facts.processor.empty());
  EXPECT_GT(facts.memory_bytes, 256 * kMiB);
  EXPECT_GT(available_memory_bytes(), 0U);
  EXPECT_LE(available_memory_bytes(), facts.memory_bytes);
}

}  // namespace
}  // namespace krserve
