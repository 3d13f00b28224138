#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/ostream_sink.h>

#include <regex>
#include <sstream>

#include "base/error.h"
#include "base/log_format.h"

namespace krserve {
namespace {

class Log : public testing::Test {
 protected:
  void SetUp() override {
    before_ = log().sinks();
    auto sink = std::make_shared<spdlog::sinks::ostream_sink_mt>(text_);
    sink->set_pattern("%l %v");
    set_log_sink(sink);
  }
  void TearDown() override {
    log().sinks() = before_;
    set_log_level(LogLevel::kInfo);
  }

  std::ostringstream text_;
  std::vector<spdlog::sink_ptr> before_;
};

TEST_F(Log, WritesLinesAtOrAboveTheLevel) {
  set_log_level(LogLevel::kWarn);
  log_at(LogLevel::kInfo, "quiet {}", 1);
  log_at(LogLevel::kWarn, "loud {}", 2);
  log_at(LogLevel::kError, "louder {}", 3);
  EXPECT_EQ(text_.str(), "warning loud 2\nerror louder 3\n");
}

TEST_F(Log, ALineStartsWithItsTimeAndItsLevelInBrackets) {
  log().sinks().front()->set_formatter(log_formatter());
  set_log_level(LogLevel::kDebug);
  for (const auto level : {LogLevel::kError, LogLevel::kWarn, LogLevel::kInfo, LogLevel::kDebug}) {
    log_at(level, "text");
  }
  const char* time = "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}.[0-9]{3} ";
  std::string expected;
  for (const char* level : {"ERROR", "WARN", "INFO", "DEBUG"}) {
    expected.append(time).append("\\[").append(level).append("\\] text\n");
  }
  EXPECT_TRUE(std::regex_match(text_.str(), std::regex(expected))) << text_.str();
}

TEST_F(Log, DebugLevelLetsEverythingThrough) {
  set_log_level(LogLevel::kDebug);
  log_at(LogLevel::kDebug, "detail");
  EXPECT_EQ(text_.str(), "debug detail\n");
}

TEST(LogLevel, NamesRoundTrip) {
  for (const char* name : {"error", "warn", "info", "debug"}) {
    EXPECT_EQ(to_string(parse_log_level(name)), name);
  }
}

TEST(LogLevel, UnknownNameThrowsConfigErrorThatListsTheLevels) {
  try {
    parse_log_level("loud");
    FAIL() << "did not throw";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("'loud'"));
    EXPECT_THAT(error.what(), testing::HasSubstr("error, warn, info or debug"));
  }
  EXPECT_THROW(parse_log_level(""), ConfigError);
  EXPECT_THROW(parse_log_level("WARN"), ConfigError);
}

}  // namespace
}  // namespace krserve
