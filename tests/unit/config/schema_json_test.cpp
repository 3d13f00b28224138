#include "config/schema_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>

#include "config/schema.h"
#include "config/value.h"
#include "unit/config/support.h"

namespace krserve {
namespace {

using Json = nlohmann::json;

constexpr const char* kFile = KR_SOURCE_DIR "/config/schema.json";

Json field_at(std::string_view path) {
  const Json schema = Json::parse(schema_json());
  for (const Json& field : schema.at("fields")) {
    if (field.at("path") == path) return field;
  }
  return {};
}

// After a change of the schema: KR_REGENERATE=1 config_test --gtest_filter=SchemaJson.*
TEST(SchemaJson, CommittedFileEqualsTheSchema) {
  if (std::getenv("KR_REGENERATE") != nullptr) std::ofstream(kFile) << schema_json();
  EXPECT_EQ(testing_support::read_file(kFile), schema_json());
}

TEST(SchemaJson, HasEveryFieldAndSectionInOrder) {
  const Json schema = Json::parse(schema_json());
  ASSERT_EQ(schema.at("fields").size(), config_fields().size());
  for (size_t i = 0; i < config_fields().size(); ++i) {
    EXPECT_EQ(schema.at("fields")[i].at("path"), config_fields()[i].path);
  }
  ASSERT_EQ(schema.at("sections").size(), config_sections().size());
  EXPECT_EQ(schema.at("sections")[0].at("path"), "metal_optimizations");
}

TEST(SchemaJson, SaysWhatEachTypeAllows) {
  const Json ring = field_at("metal_optimizations.command_buffer_ring.ring_size");
  EXPECT_EQ(ring.at("type"), "integer");
  EXPECT_EQ(ring.at("default"), 3);
  EXPECT_EQ(ring.at("min"), 2);
  EXPECT_EQ(ring.at("max"), 8);
  EXPECT_EQ(ring.at("low_message"), "CommandBufferRing: Invalid ring_size (must be >= 2)");
  EXPECT_EQ(field_at("engine.kv_page_tokens").at("choices"), Json({8, 16, 32, 64}));
  EXPECT_EQ(field_at("engine.kv_type").at("choices"), Json({"f16", "bf16", "f32"}));
  EXPECT_EQ(field_at("logging.signposts").at("default"), true);
  const Json sizes = field_at("metal_optimizations.memory_pool.warmup_sizes");
  EXPECT_EQ(sizes.at("type"), "integer_list");
  EXPECT_EQ(sizes.at("default"), Json({32, 128, 512}));
  EXPECT_EQ(sizes.at("max_items"), kMaxListItems);
  EXPECT_EQ(field_at("model.path").at("max_bytes"), kMaxTextBytes);
}

// A number that only some values are allowed for has no range: its C++ one is no statement.
TEST(SchemaJson, LeavesOutRangesThatSayNothing) {
  EXPECT_FALSE(field_at("engine.kv_page_tokens").contains("min"));
  EXPECT_FALSE(field_at("logging.signposts").contains("max"));
}

TEST(SchemaJson, MarksSecretsAndThemAlone) {
  EXPECT_TRUE(field_at("server.api_key").at("secret"));
  EXPECT_EQ(field_at("server.api_key").at("environment"), "KRSERVE_SERVER_API_KEY");
  EXPECT_FALSE(field_at("server.host").contains("secret"));
}

// What the file calls allowed, the program takes, and the neighbours it does not.
TEST(SchemaJson, LimitsAreTheOnesThatAssignmentEnforces) {
  for (const Field& field : config_fields()) {
    const Json entry = field_at(field.path);
    if (entry.at("type") != "integer" || !entry.contains("min")) continue;
    const auto taken = [&](int64_t value) {
      RuntimeConfig config;
      return !assign(field, config, raw_from_text(field, std::to_string(value))).has_value();
    };
    EXPECT_TRUE(taken(entry.at("min"))) << field.path;
    EXPECT_TRUE(taken(entry.at("max"))) << field.path;
    EXPECT_FALSE(taken(entry.at("min").get<int64_t>() - 1)) << field.path;
    EXPECT_FALSE(taken(entry.at("max").get<int64_t>() + 1)) << field.path;
  }
}

}  // namespace
}  // namespace krserve
