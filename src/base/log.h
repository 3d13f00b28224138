// One process-wide logger on stderr; levels are error, warn, info, debug.
#pragma once

#include <spdlog/spdlog.h>

#include <memory>
#include <string_view>

namespace krserve {

enum class LogLevel { kError, kWarn, kInfo, kDebug };

// "error" | "warn" | "info" | "debug"; throws ConfigError otherwise.
LogLevel parse_log_level(std::string_view text);
std::string_view to_string(LogLevel level);
spdlog::level::level_enum to_spdlog(LogLevel level);

// Made on first use; safe from any thread.
spdlog::logger& log();
void set_log_level(LogLevel level);
// Tests replace the sink to read what was logged.
void set_log_sink(std::shared_ptr<spdlog::sinks::sink> sink);

template <class... A>
void log_at(LogLevel level, fmt::format_string<A...> text, A&&... args) {
  log().log(to_spdlog(level), text, std::forward<A>(args)...);
}

}  // namespace krserve
