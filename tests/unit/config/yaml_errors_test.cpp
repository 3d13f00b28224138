#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "unit/config/support.h"

namespace krserve {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;
using testing_support::load_text;
using testing_support::refusal;
using testing_support::refusal_of;

constexpr const char* kPool =
    "metal_optimizations:\n"
    "  memory_pool:\n"
    "    ";  // line 3

TEST(YamlErrors, WrongTypeNamesFileLineKeyValueAndRange) {
  EXPECT_EQ(refusal_of(std::string(kPool) + "heap_size_mb: abc\n"),
            "[config.load] config/runtime.yaml:3: metal_optimizations.memory_pool.heap_size_mb = "
            "\"abc\": expected an integer in 1..1048576");
}

TEST(YamlErrors, QuotedNumberIsText) {
  EXPECT_THAT(refusal_of("server: {port: '80'}"), HasSubstr("server.port = \"80\": expected"));
}

TEST(YamlErrors, NumberThatOverflowsOrHasAFractionIsNotAnInteger) {
  for (const char* text : {"99999999999999999999", "8080.0", "1e3", "0x50", "8_0", "[]", "~"}) {
    EXPECT_THAT(refusal_of(std::string("server:\n  port: ") + text),
                HasSubstr("expected an integer in 0..65535"))
        << text;
  }
}

TEST(YamlErrors, OutOfRangeNamesTheRange) {
  EXPECT_EQ(refusal_of("server:\n  port: 70000\n"),
            "[config.load] config/runtime.yaml:2: server.port = 70000: expected an integer in "
            "0..65535");
}

TEST(YamlErrors, RingSizeBelowTwoSaysWhatTheRingSays) {
  for (const char* value : {"1", "0", "-3"}) {
    EXPECT_EQ(refusal_of(std::string("metal_optimizations:\n\n  command_buffer_ring:\n"
                                     "    ring_size: ") +
                         value),
              std::string("[config.load] config/runtime.yaml:4: "
                          "metal_optimizations.command_buffer_ring.ring_size = ") +
                  value +
                  ": CommandBufferRing: Invalid ring_size (must be >= 2); expected an integer in "
                  "2..8");
  }
  EXPECT_THAT(refusal_of("metal_optimizations: {command_buffer_ring: {ring_size: 9}}"),
              Not(HasSubstr("must be >= 2")));
}

TEST(YamlErrors, UnknownKeyNamesTheNearest) {
  EXPECT_EQ(refusal_of(std::string(kPool) + "heap_sise_mb: 1\n"),
            "[config.load] config/runtime.yaml:3: unknown key "
            "metal_optimizations.memory_pool.heap_sise_mb; did you mean heap_size_mb?");
}

TEST(YamlErrors, KeyInTheWrongSectionNamesItsFullPath) {
  EXPECT_THAT(refusal_of("port: 80"), HasSubstr("unknown key port; did you mean server.port?"));
  EXPECT_THAT(refusal_of("memory_pool: {enabled: true}"),
              HasSubstr("did you mean metal_optimizations.memory_pool?"));
}

TEST(YamlErrors, KeyWithADotIsNotAPath) {
  EXPECT_THAT(refusal_of("server.port: 80"), HasSubstr("unknown key server.port"));
}

TEST(YamlErrors, UnknownKeyThatIsNearNothingListsTheKeys) {
  EXPECT_THAT(refusal_of("logging: {xylophone: 1}"),
              HasSubstr("the keys here are level, signposts"));
}

TEST(YamlErrors, DuplicateKeyIsRefused) {
  EXPECT_EQ(refusal_of("server:\n  port: 1\n  host: a\n  port: 2\n"),
            "[config.load] config/runtime.yaml:4: duplicate key server.port");
  EXPECT_THAT(refusal_of("server: {port: 1}\nserver: {host: a}\n"),
              HasSubstr("config/runtime.yaml:2: duplicate key server"));
}

TEST(YamlErrors, ListOrSectionWhereAScalarIsExpected) {
  EXPECT_THAT(refusal_of("server:\n  port: [1, 2]\n"),
              HasSubstr(":2: server.port = [1, 2]: expected an integer in 0..65535"));
  EXPECT_THAT(refusal_of("server:\n  host: {a: b}\n"),
              HasSubstr("server.host = a section: expected one line of text"));
}

TEST(YamlErrors, ScalarOrBadItemWhereAListIsExpected) {
  EXPECT_THAT(refusal_of(std::string(kPool) + "warmup_sizes: 32\n"),
              HasSubstr("warmup_sizes = 32: expected a list of integers in 1..1048576"));
  EXPECT_THAT(refusal_of(std::string(kPool) + "warmup_sizes: [32, x]\n"),
              HasSubstr("item 2 is \"x\"; expected a list of integers"));
  EXPECT_THAT(refusal_of(std::string(kPool) + "warmup_sizes: [32, [1]]\n"), HasSubstr("item 2"));
  EXPECT_THAT(refusal_of(std::string(kPool) + "warmup_sizes: [0]\n"), HasSubstr("item 1 is 0"));
  std::string many = "1";
  for (int i = 0; i < 64; ++i) many += ", 1";
  EXPECT_THAT(refusal_of(std::string(kPool) + "warmup_sizes: [" + many + "]\n"),
              HasSubstr("a list of 65: at most 64 items"));
}

TEST(YamlErrors, ScalarWhereASectionIsExpectedListsItsKeys) {
  EXPECT_EQ(refusal_of("model: models/tiny\n"),
            "[config.load] config/runtime.yaml:1: model is not a section; expected a map with the "
            "keys path");
  EXPECT_THAT(refusal_of("- a\n- b\n"), HasSubstr("the document is not a section"));
}

TEST(YamlErrors, NothingIsNotAValueButAnEmptySectionIsFine) {
  EXPECT_THAT(refusal_of("server:\n  host:\n"), HasSubstr("server.host = nothing: expected"));
  EXPECT_EQ(refusal_of("server:\nengine:\n"), "");
  EXPECT_EQ(refusal_of(""), "");
  EXPECT_EQ(refusal_of("# only a comment\n"), "");
}

TEST(YamlErrors, TruthValuesAreTrueAndFalseOnly) {
  EXPECT_TRUE(load_text("metal_optimizations: {enabled: true}").values.metal_optimizations.enabled);
  for (const char* text : {"yes", "on", "1", "'true'", "tru"}) {
    EXPECT_THAT(refusal_of(std::string("metal_optimizations:\n  enabled: ") + text),
                HasSubstr("expected true or false"))
        << text;
  }
}

TEST(YamlErrors, ChoiceListsWhatIsAllowed) {
  EXPECT_THAT(refusal_of("engine: {device: gpu}"),
              HasSubstr("engine.device = \"gpu\": expected one of auto, cpu, cuda, metal"));
  EXPECT_THAT(refusal_of("engine: {device: fake}"), HasSubstr("expected one of"));
  EXPECT_THAT(refusal_of("engine: {kv_page_tokens: 24}"),
              HasSubstr("engine.kv_page_tokens = 24: expected one of 8, 16, 32, 64"));
}

TEST(YamlErrors, InvalidYamlNamesTheLine) {
  EXPECT_THAT(refusal_of("server:\n  port: 80\n host: [\n"),
              StartsWith("[config.load] config/runtime.yaml:3: invalid YAML: "));
  EXPECT_THAT(refusal_of("server: {port: *nobody}"), HasSubstr("invalid YAML"));
  EXPECT_THAT(refusal_of(std::string(2000, '[')), HasSubstr("invalid YAML"));
}

TEST(YamlErrors, SecondDocumentIsRefused) {
  EXPECT_THAT(refusal_of("server: {port: 1}\n---\nserver: {port: 2}\n"),
              HasSubstr(":2: more follows the end of the first YAML document"));
  EXPECT_EQ(refusal_of("---\nserver: {port: 1}\n...\n"), "");
  // YAML::LoadAll of this one never returns.
  EXPECT_THAT(refusal_of(", server: {port: 1}"), HasSubstr("more follows"));
}

TEST(YamlErrors, SeveralAreReportedTogether) {
  const std::string text = refusal_of(
      "server:\n  port: abc\n  hosst: x\nengine:\n  parallel: 0\n  kv_type: f8\nloging: {}\n");
  EXPECT_THAT(text, StartsWith("[config.load] 5 problems:\n"));
  EXPECT_THAT(text, HasSubstr("\n  config/runtime.yaml:2: server.port"));
  EXPECT_THAT(text, HasSubstr("\n  config/runtime.yaml:3: unknown key server.hosst; did you mean "
                              "host?"));
  EXPECT_THAT(text, HasSubstr("\n  config/runtime.yaml:5: engine.parallel = 0"));
  EXPECT_THAT(text, HasSubstr("\n  config/runtime.yaml:6: engine.kv_type"));
  EXPECT_THAT(text, HasSubstr("\n  config/runtime.yaml:7: unknown key loging; did you mean "
                              "logging?"));
}

TEST(YamlErrors, TwentyAreShownAndTheRestCounted) {
  std::string yaml;
  for (int i = 0; i < 25; ++i) yaml += "zz" + std::to_string(i) + ": 1\n";
  const std::string text = refusal_of(yaml);
  EXPECT_THAT(text, HasSubstr("25 problems"));
  EXPECT_THAT(text, HasSubstr("zz19"));
  EXPECT_THAT(text, Not(HasSubstr("zz20")));
  EXPECT_THAT(text, HasSubstr("and 5 more"));
}

TEST(YamlErrors, TextIsOneLineOfLimitedSize) {
  EXPECT_THAT(refusal_of("server: {host: \"a\\nb\"}"), HasSubstr("has a line break"));
  EXPECT_THAT(refusal_of("server: {host: " + std::string(5000, 'a') + "}"),
              HasSubstr("5000 bytes, at most 4096"));
}

TEST(YamlErrors, SecretIsNotPrinted) {
  EXPECT_THAT(refusal_of("server: {api_key: \"hush\\nhush\"}"), Not(HasSubstr("hush")));
  EXPECT_THAT(refusal_of("server: {api_key: [hush]}"), Not(HasSubstr("hush")));
}

TEST(YamlErrors, MissingFileFolderAndHugeFileAreRefused) {
  const auto folder = std::filesystem::temp_directory_path() / "krserve_config_errors";
  std::filesystem::create_directories(folder);
  const auto load = [](const std::filesystem::path& file) {
    return refusal([&] {
      load_config({.file = file.string(), .preset = "", .environment = {}, .overrides = {}});
    });
  };
  EXPECT_THAT(load(folder / "no.yaml"), HasSubstr("no.yaml: cannot be read: No such file"));
  EXPECT_THAT(load(folder), HasSubstr("is a folder"));
  std::ofstream(folder / "huge.yaml") << std::string((1 << 20) + 1, '#');
  EXPECT_THAT(load(folder / "huge.yaml"), HasSubstr("larger than 1 MiB"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace krserve
