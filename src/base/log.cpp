#include "base/log.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <string_view>

#include "base/error.h"
#include "base/log_format.h"

namespace krserve {
namespace {

// "[WARN]": levels as the seed document writes them.
class BracketedLevel : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    const std::string_view text = name(message.level);
    out.append(text.data(), text.data() + text.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<BracketedLevel>();
  }

 private:
  static std::string_view name(spdlog::level::level_enum level) {
    switch (level) {
      case spdlog::level::err:
      case spdlog::level::critical:
        return "[ERROR]";
      case spdlog::level::warn:
        return "[WARN]";
      case spdlog::level::info:
        return "[INFO]";
      default:
        return "[DEBUG]";
    }
  }
};

std::shared_ptr<spdlog::logger> make_logger() {
  auto logger = std::make_shared<spdlog::logger>(
      "krserve", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
  logger->set_formatter(log_formatter());
  logger->set_level(spdlog::level::info);
  return logger;
}

}  // namespace

std::unique_ptr<spdlog::formatter> log_formatter() {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<BracketedLevel>('*').set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%*%$ %v");
  return formatter;
}

spdlog::logger& log() {
  static const std::shared_ptr<spdlog::logger> logger = make_logger();
  return *logger;
}

LogLevel parse_log_level(std::string_view text) {
  if (text == "error") return LogLevel::kError;
  if (text == "warn") return LogLevel::kWarn;
  if (text == "info") return LogLevel::kInfo;
  if (text == "debug") return LogLevel::kDebug;
  throw_error<ConfigError>("log.level", "'{}' is not a level; use error, warn, info or debug",
                           text);
}

std::string_view to_string(LogLevel level) {
  switch (level) {
    case LogLevel::kError:
      return "error";
    case LogLevel::kWarn:
      return "warn";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kDebug:
      return "debug";
  }
  return "info";
}

spdlog::level::level_enum to_spdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kError:
      return spdlog::level::err;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kDebug:
      return spdlog::level::debug;
  }
  return spdlog::level::info;
}

void set_log_level(LogLevel level) {
  log().set_level(to_spdlog(level));
}

void set_log_sink(std::shared_ptr<spdlog::sinks::sink> sink) {
  log().sinks() = {std::move(sink)};
}

}  // namespace krserve
