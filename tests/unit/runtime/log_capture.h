// Catches the log lines of one test.
#pragma once

#include <spdlog/sinks/ringbuffer_sink.h>
#include <spdlog/sinks/stdout_color_sinks.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/log_format.h"

namespace krserve::runtime {

class LogCapture {
 public:
  LogCapture() {
    sink_->set_formatter(log_formatter());
    set_log_sink(sink_);
  }
  ~LogCapture() { set_log_sink(std::make_shared<spdlog::sinks::stderr_color_sink_mt>()); }
  LogCapture(const LogCapture&) = delete;
  LogCapture& operator=(const LogCapture&) = delete;

  std::vector<std::string> lines() { return sink_->last_formatted(); }
  int count(const std::string& text) {
    const std::vector<std::string> all = lines();
    return static_cast<int>(std::count_if(all.begin(), all.end(), [&](const std::string& line) {
      return line.find(text) != std::string::npos;
    }));
  }
  std::string text() {
    std::string all;
    for (const std::string& line : lines()) all += line;
    return all;
  }

 private:
  std::shared_ptr<spdlog::sinks::ringbuffer_sink_mt> sink_ =
      std::make_shared<spdlog::sinks::ringbuffer_sink_mt>(256);
};

}  // namespace krserve::runtime
