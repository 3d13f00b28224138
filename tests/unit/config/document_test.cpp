#include "config/document.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "config/schema.h"
#include "unit/config/support.h"

namespace krserve {
namespace {

constexpr const char* kFile = KR_SOURCE_DIR "/config/runtime.yaml";

// After a change of the schema: KR_REGENERATE=1 config_test --gtest_filter=Document.*
TEST(Document, CommittedFileEqualsTheSchema) {
  if (std::getenv("KR_REGENERATE") != nullptr) std::ofstream(kFile) << documented_yaml();
  EXPECT_EQ(testing_support::read_file(kFile), documented_yaml());
}

TEST(Document, CommittedReferenceEqualsTheSchema) {
  const char* reference = KR_SOURCE_DIR "/docs/CONFIGURATION.md";
  if (std::getenv("KR_REGENERATE") != nullptr) std::ofstream(reference) << documented_markdown();
  EXPECT_EQ(testing_support::read_file(reference), documented_markdown());
}

TEST(Document, ReferenceNamesEveryKeyWithItsDefault) {
  const std::string text = documented_markdown();
  for (const EffectiveValue& value : effective_values({})) {
    const std::string_view section = parent_path(value.path);
    const size_t at = text.find("\n## `" + std::string(section) + "`\n");
    ASSERT_NE(at, std::string::npos) << section;
    const std::string row = "| `" + std::string(leaf_name(value.path)) + "` | `" + value.value;
    EXPECT_LT(text.find(row, at), text.find("\n## ", at + 1)) << value.path;
  }
}

TEST(Document, CommittedFileSetsEveryKeyToItsDefault) {
  const LoadedConfig loaded =
      load_config({.file = kFile, .preset = "", .environment = {}, .overrides = {}});
  EXPECT_EQ(loaded.origins.size(), config_fields().size());
  const auto defaults = effective_values({});
  const auto values = effective_values(loaded);
  ASSERT_EQ(values.size(), defaults.size());
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(values[i].value, defaults[i].value) << values[i].path;
    EXPECT_THAT(values[i].origin, testing::StartsWith(std::string(kFile) + ":"));
  }
  EXPECT_TRUE(loaded.warnings.empty());
}

TEST(Document, NoLineIsWiderThanTheStyleAllows) {
  std::istringstream text(documented_yaml());
  for (std::string line; std::getline(text, line);) EXPECT_LE(line.size(), 101u) << line;
}

TEST(EffectiveValues, NameTheOriginOfEachValue) {
  LoadedConfig config;
  apply_override(config, "server.port", "81", "--port");
  const auto values = effective_values(config);
  const auto port = std::ranges::find(values, "server.port", &EffectiveValue::path);
  ASSERT_NE(port, values.end());
  EXPECT_EQ(port->value, "81");
  EXPECT_EQ(port->origin, "--port");
  const auto host = std::ranges::find(values, "server.host", &EffectiveValue::path);
  EXPECT_EQ(host->value, "'127.0.0.1'");
  EXPECT_EQ(host->origin, "default");
}

TEST(EffectiveValues, HideTheApiKeyAndShowThatThereIsNone) {
  LoadedConfig config;
  const auto shown = [&] {
    const auto values = effective_values(config);
    return std::ranges::find(values, "server.api_key", &EffectiveValue::path)->value;
  };
  EXPECT_EQ(shown(), "''");
  apply_override(config, "server.api_key", "hush", "--api-key");
  EXPECT_EQ(shown(), "(hidden)");
}

}  // namespace
}  // namespace krserve
