#include "config/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "unit/config/support.h"

namespace krserve {
namespace {

using testing::HasSubstr;
using testing_support::refusal;

class Loader : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("krserve_loader_" +
               std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::create_directories(folder_ / "config");
    file_ = (folder_ / "config" / "runtime.yaml").string();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& yaml) { std::ofstream(file_) << yaml; }

  std::filesystem::path folder_;
  std::string file_;
};

TEST_F(Loader, CommandLineBeatsEnvironmentBeatsPresetBeatsFileBeatsDefault) {
  write("metal_optimizations:\n  command_buffer_ring:\n    ring_size: 5\n");
  ConfigSources sources;
  const auto ring = [&](const LoadedConfig& config) {
    const auto it = config.origins.find("metal_optimizations.command_buffer_ring.ring_size");
    return std::pair(config.values.metal_optimizations.command_buffer_ring.ring_size,
                     it == config.origins.end() ? "default" : it->second);
  };
  EXPECT_EQ(ring(load_config(sources)), std::pair(int64_t{3}, std::string("default")));
  sources.file = file_;
  EXPECT_EQ(ring(load_config(sources)), std::pair(int64_t{5}, file_ + ":3"));
  sources.preset = "batch";
  EXPECT_EQ(ring(load_config(sources)),
            std::pair(int64_t{4}, std::string("config/presets/batch.yaml:19")));
  const std::string variable = "KRSERVE_METAL_OPTIMIZATIONS_COMMAND_BUFFER_RING_RING_SIZE";
  sources.environment[variable] = "6";
  EXPECT_EQ(ring(load_config(sources)), std::pair(int64_t{6}, variable));
  sources.overrides = {{"metal_optimizations.command_buffer_ring.ring_size", "7", "--set"},
                       {"metal_optimizations.command_buffer_ring.ring_size", "8", "--ring"}};
  EXPECT_EQ(ring(load_config(sources)), std::pair(int64_t{8}, std::string("--ring")));
}

TEST_F(Loader, ProblemsOfAllSourcesAreReportedTogether) {
  write("server:\n  port: abc\n");
  const std::string text = refusal([&] {
    load_config({.file = file_,
                 .preset = "bach",
                 .environment = {{"KRSERVE_ENGINE_PARALLEL", "none"}},
                 .overrides = {{"server.prt", "1", "--set"}, {"server.port", "x", "--port"}}});
  });
  EXPECT_THAT(text, HasSubstr("5 problems:"));
  EXPECT_THAT(text, HasSubstr(file_ + ":2: server.port = \"abc\""));
  EXPECT_THAT(text, HasSubstr("unknown preset bach; did you mean batch?"));
  EXPECT_THAT(text, HasSubstr("KRSERVE_ENGINE_PARALLEL: engine.parallel = \"none\": expected an "
                              "integer in 1..1024"));
  EXPECT_THAT(text, HasSubstr("--set: unknown key server.prt; did you mean port?"));
  EXPECT_THAT(text, HasSubstr("--port: server.port = \"x\""));
}

TEST_F(Loader, OverrideOfASectionListsItsKeys) {
  LoadedConfig config;
  EXPECT_EQ(refusal([&] { apply_override(config, "memory", "5", "--set"); }),
            "[config.load] --set: memory is a section; set one of its keys: limit_mb");
  EXPECT_TRUE(config.origins.empty());
}

TEST_F(Loader, ListsAreReadFromTextWithAndWithoutBrackets) {
  LoadedConfig config;
  const std::string path = "metal_optimizations.memory_pool.warmup_sizes";
  const auto& sizes = config.values.metal_optimizations.memory_pool.warmup_sizes;
  apply_override(config, path, "1,2, 3", "--set");
  EXPECT_THAT(sizes, testing::ElementsAre(1, 2, 3));
  apply_override(config, path, "[ 4 ]", "--set");
  EXPECT_THAT(sizes, testing::ElementsAre(4));
  apply_override(config, path, "", "--set");
  EXPECT_THAT(sizes, testing::IsEmpty());
  for (const char* bad : {"1,", ",", "[1", "1 2", "1,x"}) {
    EXPECT_THROW(apply_override(config, path, bad, "--set"), ConfigError) << bad;
  }
}

TEST_F(Loader, SetArgumentSplitsAtTheFirstEqualsSign) {
  const ConfigOverride item = parse_set_argument("server.api_key=a=b");
  EXPECT_EQ(item.path, "server.api_key");
  EXPECT_EQ(item.text, "a=b");
  EXPECT_EQ(item.origin, "--set");
  EXPECT_THROW(parse_set_argument("server.port"), UsageError);
  EXPECT_THROW(parse_set_argument("=1"), UsageError);
}

TEST_F(Loader, UnknownVariableOfASectionWarnsAndOthersAreIgnored) {
  const LoadedConfig config = load_config({.file = "",
                                           .preset = "",
                                           .environment = {{"KRSERVE_SERVER_PROT", "1"},
                                                           {"KRSERVE_CONFIG", "x"},
                                                           {"KRSERVE_PARTY", "y"}},
                                           .overrides = {}});
  EXPECT_THAT(config.warnings,
              testing::ElementsAre("environment variable KRSERVE_SERVER_PROT sets nothing; did you "
                                   "mean KRSERVE_SERVER_PORT?"));
  EXPECT_EQ(config.values.server.port, 8080);
}

TEST_F(Loader, EnvironmentHoldsOnlyOurVariables) {
  ASSERT_EQ(setenv("KRSERVE_SERVER_PORT", "81=82", 1), 0);
  const Environment found = krserve_environment();
  unsetenv("KRSERVE_SERVER_PORT");
  EXPECT_EQ(found.at("KRSERVE_SERVER_PORT"), "81=82");
  for (const auto& [name, text] : found) EXPECT_TRUE(name.starts_with("KRSERVE_")) << name;
}

TEST_F(Loader, FileIsTheGivenOneThenTheVariableThenTheFolderBelow) {
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder_);
  EXPECT_EQ(find_config_file("", {}), "");
  write("");
  EXPECT_EQ(find_config_file("", {}), "config/runtime.yaml");
  EXPECT_EQ(find_config_file("", {{"KRSERVE_CONFIG", "b.yaml"}}), "b.yaml");
  EXPECT_EQ(find_config_file("a.yaml", {{"KRSERVE_CONFIG", "b.yaml"}}), "a.yaml");
  std::filesystem::current_path(before);
}

}  // namespace
}  // namespace krserve
