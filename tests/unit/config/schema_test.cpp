#include "config/schema.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "config/value.h"
#include "unit/config/support.h"

namespace krserve {
namespace {

using testing_support::load_text;

// A legal value of the field that is not its default.
std::string other_value(const Field& field) {
  const std::string now = value_text(field, RuntimeConfig{});
  if (!field.choices.empty()) {
    for (const std::string_view choice : field.choices) {
      if (now != choice && now != fmt::format("'{}'", choice)) return std::string(choice);
    }
  }
  if (std::holds_alternative<BoolRef>(field.ref)) return now == "true" ? "false" : "true";
  if (std::holds_alternative<IntRef>(field.ref)) {
    return std::to_string(now == std::to_string(field.max) ? field.min : field.max);
  }
  if (std::holds_alternative<ListRef>(field.ref)) return fmt::format("[{}, 7]", field.min);
  return "it's \"text\": #1";
}

std::string yaml_of(const Field& field, const std::string& value) {
  std::string path(field.path);
  std::string out;
  std::string indent;
  for (size_t dot = path.find('.'); dot != std::string::npos; dot = path.find('.')) {
    out += indent + path.substr(0, dot) + ":\n";
    indent += "  ";
    path.erase(0, dot + 1);
  }
  return out + indent + path + ": " + value + "\n";
}

TEST(Schema, EveryKeyRoundTripsThroughYaml) {
  for (const Field& field : config_fields()) {
    LoadedConfig set;
    apply_override(set, field.path, other_value(field), "--set");
    const std::string written = value_text(field, set.values);
    ASSERT_NE(written, value_text(field, RuntimeConfig{})) << field.path;

    const LoadedConfig read = load_text(yaml_of(field, written));
    EXPECT_EQ(value_text(field, read.values), written) << field.path;
    ASSERT_EQ(read.origins.size(), 1u) << field.path;
    EXPECT_EQ(read.origins.begin()->first, field.path);
    for (const Field& other : config_fields()) {
      if (other.path == field.path) continue;
      EXPECT_EQ(value_text(other, read.values), value_text(other, RuntimeConfig{}))
          << field.path << " changed " << other.path;
    }
  }
}

TEST(Schema, EveryKeyRoundTripsThroughTheEnvironment) {
  for (const Field& field : config_fields()) {
    const std::string text = other_value(field);
    const LoadedConfig loaded = load_config({.file = "",
                                             .preset = "",
                                             .environment = {{environment_name(field.path), text}},
                                             .overrides = {}});
    LoadedConfig expected;
    apply_override(expected, field.path, text, "--set");
    EXPECT_EQ(value_text(field, loaded.values), value_text(field, expected.values)) << field.path;
    EXPECT_EQ(loaded.origins.at(std::string(field.path)), environment_name(field.path));
  }
}

TEST(Schema, PathsAndVariablesAreUniqueAndEveryFieldHasASectionAndADoc) {
  std::set<std::string> variables;
  for (const Field& field : config_fields()) {
    EXPECT_TRUE(variables.insert(environment_name(field.path)).second) << field.path;
    EXPECT_NE(find_section(parent_path(field.path)), nullptr) << field.path;
    EXPECT_FALSE(field.doc.empty()) << field.path;
    EXPECT_EQ(find_field(field.path), &field);
  }
  EXPECT_EQ(variables.size(), 57u);
}

TEST(Schema, EveryDefaultIsLegal) {
  for (const Field& field : config_fields()) {
    const std::string text = value_text(field, RuntimeConfig{});
    EXPECT_EQ(testing_support::refusal_of(yaml_of(field, text)), "") << field.path;
  }
}

TEST(Schema, NumbersAreRefusedJustOutsideTheirRangeAndTakenAtItsEnds) {
  for (const Field& field : config_fields()) {
    if (!std::holds_alternative<IntRef>(field.ref) || !field.choices.empty()) continue;
    LoadedConfig config;
    for (const int64_t good : {field.min, field.max}) {
      EXPECT_NO_THROW(apply_override(config, field.path, std::to_string(good), "--set"));
    }
    for (const int64_t bad : {field.min - 1, field.max + 1}) {
      EXPECT_THROW(apply_override(config, field.path, std::to_string(bad), "--set"), ConfigError)
          << field.path << " = " << bad;
    }
    EXPECT_EQ(value_text(field, config.values), std::to_string(field.max)) << "left alone";
  }
}

TEST(Schema, VariableNamesAreThePathInCapitals) {
  EXPECT_EQ(environment_name("server.port"), "KRSERVE_SERVER_PORT");
  EXPECT_EQ(environment_name("metal_optimizations.memory_pool.heap_size_mb"),
            "KRSERVE_METAL_OPTIMIZATIONS_MEMORY_POOL_HEAP_SIZE_MB");
}

}  // namespace
}  // namespace krserve
