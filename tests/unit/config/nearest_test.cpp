#include "config/nearest.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace krserve {
namespace {

TEST(EditDistance, CountsInsertionsDeletionsReplacementsAndSwaps) {
  EXPECT_EQ(edit_distance("", ""), 0u);
  EXPECT_EQ(edit_distance("", "abc"), 3u);
  EXPECT_EQ(edit_distance("port", "port"), 0u);
  EXPECT_EQ(edit_distance("port", "ports"), 1u);
  EXPECT_EQ(edit_distance("port", "prot"), 1u);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3u);
}

TEST(EditDistance, IsSymmetricAndLimitsItsWorkOnHugeWords) {
  EXPECT_EQ(edit_distance("abcd", "badc"), edit_distance("badc", "abcd"));
  EXPECT_LE(edit_distance(std::string(100000, 'a'), std::string(100000, 'b')), 96u);
}

TEST(NearestWord, IsEmptyWhenNothingIsNear) {
  const std::vector<std::string_view> words = {"host", "port"};
  EXPECT_EQ(nearest_word("pot", words), "port");
  EXPECT_EQ(nearest_word("xylophone", words), "");
  EXPECT_EQ(nearest_word("anything", {}), "");
}

TEST(KeyHint, SpellingStylesAndMissingUnitsAreSeenThrough) {
  const std::string pool = "metal_optimizations.memory_pool.";
  EXPECT_EQ(key_hint(pool + "heapSizeMb"), "did you mean heap_size_mb?");
  EXPECT_EQ(key_hint(pool + "heap-size-mb"), "did you mean heap_size_mb?");
  EXPECT_EQ(key_hint(pool + "heap_size"), "did you mean heap_size_mb?");
  EXPECT_EQ(key_hint("metal_optimizations.command_buffer_ring.timeout"),
            "did you mean timeout_ms?");
}

TEST(KeyHint, PathWrongInTwoPlacesIsFoundByTheWholePath) {
  EXPECT_EQ(key_hint("metal_optimisations.memory_pol.heap_size"),
            "did you mean metal_optimizations.memory_pool.heap_size_mb?");
}

TEST(KeyHint, UnknownSectionListsTheSections) {
  EXPECT_EQ(key_hint("quux.corge"),
            "the sections are metal_optimizations, server, rpc, model, engine, metal_device, "
            "memory, logging");
}

}  // namespace
}  // namespace krserve
