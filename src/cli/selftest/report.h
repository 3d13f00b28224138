// The self-test's report: lines as things are found, made to be pasted into an issue, and JSON.
#pragma once

#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "device/check_log.h"

namespace krserve::selftest {

class Report final : public CheckLog {
 public:
  // Gets the text, line by line.
  using Write = std::function<void(std::string_view)>;
  // Gets what is under way: "messages: MTLHeap".
  using Note = std::function<void(const std::string&)>;

  explicit Report(Write write, Note note = {});

  // Opens the fence; what the section throws is a failure of it.
  void begin(const std::string& title);
  void section(const std::string& name, const std::function<void(CheckLog&)>& run);
  void skip(const std::string& name, const std::string& why);
  // The summary, and the fence's end.
  void end();

  uint32_t failures() const { return failures_; }
  nlohmann::json json() const;

  void passed(const std::string& what) override;
  void failed(const std::string& what, const std::string& why) override;
  void not_run(const std::string& what, const std::string& why) override;
  void fact(const std::string& name, const std::string& value) override;
  void measured(const std::string& name, const std::string& unit,
                std::vector<double> samples) override;
  void doing(const std::string& what) override;

 private:
  void line(const std::string& text);
  void summarize(const std::string& name);

  Write write_;
  Note note_;
  std::string title_;
  std::string section_;
  uint32_t failures_ = 0;
  uint32_t section_failures_ = 0;
  uint32_t section_passes_ = 0;
  // Of the section, by the reason.
  std::map<std::string, std::vector<std::string>> not_run_;
  std::vector<std::string> summary_;
  nlohmann::json sections_ = nlohmann::json::array();
};

// Value below which `part` of the samples lie: the one of rank ceil(part * n).
double quantile(std::vector<double> samples, double part);

}  // namespace krserve::selftest
