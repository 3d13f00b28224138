// Damaged files must be taken or refused with ConfigError, never anything else.
#include <gtest/gtest.h>

#include <random>

#include "config/document.h"
#include "config/presets.h"
#include "unit/config/support.h"

namespace krserve {
namespace {

using Random = std::mt19937_64;

size_t below(Random& random, size_t limit) {
  return limit == 0 ? 0 : random() % limit;
}

std::string mutate(std::string text, Random& random) {
  static const std::vector<std::string> pieces = {
      "[",  "]",    "{",     "}",     ":",  ": ",  "- ",   "#",     "&a ",  "*a", "!!int ",
      "\n", "\t",   "'",     "\"",    "?",  "|\n", ">\n",  "---\n", "...",  "~",  "<<: ",
      "\r", "\xff", "\x00a", "99999", "-1", "1e9", "true", "null",  "%TAG", "@",  "\xEF\xBB\xBF"};
  for (size_t edits = 1 + below(random, 6); edits > 0; --edits) {
    const size_t at = below(random, text.size() + 1);
    switch (below(random, 5)) {
      case 0:
        text.insert(at, pieces[below(random, pieces.size())]);
        break;
      case 1:
        text.erase(at, 1 + below(random, 12));
        break;
      case 2:
        text.insert(at, text.substr(below(random, text.size() + 1), below(random, 80)));
        break;
      case 3:
        text.resize(at);
        break;
      default:
        if (at < text.size()) text[at] = static_cast<char>(random());
    }
  }
  return text;
}

TEST(ConfigFuzz, DamagedFilesAreTakenOrRefusedWithConfigError) {
  Random random(20251109);
  std::vector<std::string> seeds = {documented_yaml()};
  for (const Preset& preset : presets()) seeds.emplace_back(preset.yaml);
  size_t taken = 0;
  size_t refused = 0;
  for (int round = 0; round < 3000; ++round) {
    const std::string text = mutate(seeds[below(random, seeds.size())], random);
    try {
      testing_support::load_text(text);
      ++taken;
    } catch (const ConfigError& error) {
      ++refused;
      ASSERT_FALSE(std::string(error.what()).empty());
    } catch (const std::exception& error) {
      FAIL() << "round " << round << ": " << error.what() << "\n" << text;
    }
  }
  // Both ends were reached, so the damage was neither harmless nor total.
  EXPECT_GT(taken, 100u);
  EXPECT_GT(refused, 1000u);
}

TEST(ConfigFuzz, DamagedOverridesAreTakenOrRefusedWithConfigError) {
  Random random(7);
  for (int round = 0; round < 3000; ++round) {
    LoadedConfig config;
    const std::string path = mutate("metal_optimizations.memory_pool.warmup_sizes", random);
    try {
      apply_override(config, path, mutate("[32, 128, 512]", random), "--set");
    } catch (const ConfigError&) {
      EXPECT_TRUE(config.origins.empty());
    }
  }
}

TEST(ConfigFuzz, AliasOfItselfAndDeepNestingEndInARefusal) {
  EXPECT_NE(testing_support::refusal_of("server: &a {host: *a}"), "");
  EXPECT_NE(testing_support::refusal_of("&a [*a]"), "");
  std::string deep;
  for (int i = 0; i < 5000; ++i) deep += "{a: ";
  EXPECT_NE(testing_support::refusal_of(deep), "");
}

}  // namespace
}  // namespace krserve
