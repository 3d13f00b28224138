#include "cli/selftest/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace krserve::selftest {

using Json = nlohmann::json;

namespace {

// Failures that are written out in one section: the rest is in the JSON.
constexpr uint32_t kWrittenFailures = 20;
// Names that a reason for not running is written with.
constexpr size_t kWrittenNames = 3;
constexpr size_t kNameWidth = 34;

std::string indented(const std::string& text, const std::string& indent) {
  std::string out;
  for (const char c : text) {
    out += c;
    if (c == '\n') out += indent;
  }
  while (!out.empty() && (out.back() == ' ' || out.back() == '\n')) out.pop_back();
  return out;
}

std::string number(double value) {
  return std::fabs(value) >= 100 ? fmt::format("{:.0f}", value) : fmt::format("{:.3g}", value);
}

}  // namespace

double quantile(std::vector<double> samples, double part) {
  std::sort(samples.begin(), samples.end());
  const auto rank = static_cast<size_t>(std::ceil(part * static_cast<double>(samples.size())));
  return samples[std::min(samples.size(), std::max<size_t>(rank, 1)) - 1];
}

Report::Report(Write write, Note note) : write_(std::move(write)), note_(std::move(note)) {}

void Report::line(const std::string& text) {
  write_(text + "\n");
}

void Report::begin(const std::string& title) {
  title_ = title;
  line("```text");
  line(title);
}

void Report::section(const std::string& name, const std::function<void(CheckLog&)>& run) {
  section_ = name;
  section_failures_ = section_passes_ = 0;
  not_run_.clear();
  sections_.push_back({{"name", name},
                       {"passed", Json::array()},
                       {"failed", Json::array()},
                       {"not_run", Json::array()},
                       {"facts", Json::object()},
                       {"measured", Json::object()}});
  line("\n" + name);
  doing("start");
  try {
    run(*this);
  } catch (const std::exception& error) {
    failed(name, error.what());
  }
  summarize(name);
}

void Report::skip(const std::string& name, const std::string& why) {
  section(name, [&](CheckLog& log) { log.not_run(name, why); });
}

void Report::summarize(const std::string& name) {
  if (section_failures_ > kWrittenFailures) {
    line(fmt::format("  ... and {} more failures; --json FILE has all",
                     section_failures_ - kWrittenFailures));
  }
  size_t left_out = 0;
  for (const auto& [why, names] : not_run_) {
    left_out += names.size();
    const size_t written = std::min(names.size(), kWrittenNames);
    std::string text = fmt::format("{}", fmt::join(names.begin(), names.begin() + written, ", "));
    if (names.size() > written) text += fmt::format(" and {} more", names.size() - written);
    line(fmt::format("  not run {}: {}", text, indented(why, "          ")));
  }
  const char* const outcome = section_failures_ ? "FAILED" : section_passes_ ? "ok" : "not run";
  const std::string text = fmt::format("{:<7} {}: {} ok, {} failed, {} not run", outcome, name,
                                       section_passes_, section_failures_, left_out);
  // Facts and measurements alone are neither.
  if (section_failures_ + section_passes_ + left_out == 0) return;
  line("  " + text);
  summary_.push_back(text);
}

void Report::end() {
  line("\nsummary");
  for (const std::string& text : summary_) line("  " + text);
  line(failures_ ? fmt::format("  {} FAILED: please report all of this", failures_)
                 : std::string("  nothing failed"));
  line("```");
}

Json Report::json() const {
  return {{"title", title_}, {"failures", failures_}, {"sections", sections_}};
}

void Report::passed(const std::string& what) {
  ++section_passes_;
  sections_.back()["passed"].push_back(what);
}

void Report::failed(const std::string& what, const std::string& why) {
  ++failures_;
  ++section_failures_;
  sections_.back()["failed"].push_back({{"what", what}, {"why", why}});
  if (section_failures_ > kWrittenFailures) return;
  line(fmt::format("  FAILED  {}: {}", what, indented(why, "          ")));
}

void Report::not_run(const std::string& what, const std::string& why) {
  not_run_[why].push_back(what);
  sections_.back()["not_run"].push_back({{"what", what}, {"why", why}});
}

void Report::fact(const std::string& name, const std::string& value) {
  sections_.back()["facts"][name] = value;
  line(fmt::format("  {:<{}} {}", name, kNameWidth,
                   indented(value, std::string(kNameWidth + 3, ' '))));
}

void Report::measured(const std::string& name, const std::string& unit,
                      std::vector<double> samples) {
  const double median = quantile(samples, 0.5), p90 = quantile(samples, 0.9);
  line(fmt::format("  {:<48} {:>8} {:<5} p90 {:>8}  of {}", name, number(median), unit, number(p90),
                   samples.size()));
  sections_.back()["measured"][name] = {{"unit", unit},
                                        {"median", median},
                                        {"p90", p90},
                                        {"min", quantile(samples, 0)},
                                        {"max", quantile(samples, 1)},
                                        {"samples", samples.size()}};
}

void Report::doing(const std::string& what) {
  if (note_) note_(section_ + ": " + what);
}

}  // namespace krserve::selftest
