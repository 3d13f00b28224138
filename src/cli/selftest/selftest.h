// krserve metal-selftest: all that can go wrong with Metal on a Mac seen the first time, in one
// report.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "cli/selftest/report.h"

namespace krserve::selftest {

struct Options {
  std::string path = "auto";    // "auto", "metal3", "metal4"
  std::filesystem::path model;  // empty: models/tiny where it is found
  bool quick = false;
  bool validation = true;
  // For the run with validation: this program's path.
  std::string program;
};

// Runs all sections. Throws DeviceError where this build has no Metal, or there is no device.
void run_selftest(Report& report, const Options& options);

// The words of a child's output that tell of a failure: its report's failures, and what Metal's
// checks wrote on stderr; each once.
std::vector<std::string> telling_lines(const std::string& out, const std::string& err);

// Whether such a line of stderr is a complaint of Metal's checks.
bool is_complaint(const std::string& line);

}  // namespace krserve::selftest
