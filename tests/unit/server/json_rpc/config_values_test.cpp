#include "server/json_rpc/config_values.h"

#include <gmock/gmock.h>

#include "config/schema.h"

namespace krserve::server::rpc {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> problems_of(const Json& values) {
  LoadedConfig config;
  try {
    apply_values(config, values, "test");
  } catch (const RpcError& error) {
    EXPECT_EQ(error.code(), ErrorCode::kConfig);
    EXPECT_TRUE(changed_paths(RuntimeConfig(), config.values).empty());
    EXPECT_TRUE(config.origins.empty());
    return error.data().at("problems").get<std::vector<std::string>>();
  }
  return {};
}

TEST(ConfigValues, NestedAndDottedPathsAreTheSame) {
  LoadedConfig config;
  apply_values(config, {{"engine", {{"threads", 2}}}, {"memory.limit_mb", 5}}, "test");
  EXPECT_EQ(config.values.engine.threads, 2);
  EXPECT_EQ(config.values.memory.limit_mb, 5);
  EXPECT_EQ(config.origins.at("engine.threads"), "test");
  EXPECT_THAT(changed_paths(RuntimeConfig(), config.values),
              ElementsAre("engine.threads", "memory.limit_mb"));
}

TEST(ConfigValues, EveryKindOfValueIsSet) {
  LoadedConfig config;
  const Json pool = {{"enabled", true}, {"warmup_sizes", {1, 2}}, {"allocation_log", "8080"}};
  apply_values(config, {{"metal_optimizations", {{"memory_pool", pool}}}}, "test");
  const MemoryPoolConfig& set = config.values.metal_optimizations.memory_pool;
  EXPECT_TRUE(set.enabled);
  EXPECT_THAT(set.warmup_sizes, ElementsAre(1, 2));
  EXPECT_EQ(set.allocation_log, "8080");
}

TEST(ConfigValues, WrongTypesAreRefused) {
  for (const Json& value : {Json("2"), Json(2.5), Json(true), Json(nullptr), Json::array({2}),
                            Json::object({{"a", 1}}), Json(-1), Json(UINT64_MAX)}) {
    EXPECT_THAT(problems_of({{"engine.threads", value}}), ElementsAre(HasSubstr("engine.threads")))
        << value;
  }
  EXPECT_EQ(problems_of({{"logging.signposts", "true"}}).size(), 1U);
  EXPECT_EQ(problems_of({{"logging.level", "loud"}}).size(), 1U);
  EXPECT_EQ(problems_of({{"metal_optimizations.memory_pool.warmup_sizes", {1, "2"}}}).size(), 1U);
  EXPECT_EQ(problems_of({{"engine", 3}}).size(), 1U);
}

TEST(ConfigValues, AllThatIsWrongIsTold) {
  EXPECT_THAT(problems_of({{"engine", {{"thread", 1}, {"parallel", 0}}}, {"memory.limit_mb", 7}}),
              ElementsAre(HasSubstr("engine.parallel"), HasSubstr("did you mean threads")));
}

TEST(ConfigValues, WhatIsReadCanBeSetAgain) {
  LoadedConfig config;
  config.values.engine.parallel = 3;
  config.values.server.host = "::1";
  const OrderedJson values = nested_values(config, "");
  LoadedConfig copy;
  apply_values(copy, Json::parse(values.dump()), "test");
  EXPECT_TRUE(changed_paths(config.values, copy.values).empty());
}

TEST(ConfigValues, SecretsAreLeftOut) {
  LoadedConfig config;
  config.values.server.api_key = "word";
  EXPECT_FALSE(nested_values(config, "server").at("server").contains("api_key"));
  EXPECT_EQ(nested_values(config, "server.api_key"), OrderedJson::object());
  EXPECT_FALSE(value_origins(config, "").contains("server.api_key"));
}

TEST(ConfigValues, EveryModelSettingWaitsForTheNextModel) {
  for (const Field& field : config_fields()) {
    const bool other = field.path.starts_with("server.") || field.path.starts_with("rpc.") ||
                       field.path == "model.path" || field.path == "logging.level";
    const bool now = other && field.path != "server.model_name";
    EXPECT_EQ(effective_when(field.path), now ? "now" : "next load_model") << field.path;
  }
}

}  // namespace
}  // namespace krserve::server::rpc
