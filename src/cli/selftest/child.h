// A program run once more with other settings: what it wrote, and how it ended.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace krserve::selftest {

struct ChildResult {
  std::string out;
  std::string err;
  int exit_code = -1;  // -1: it did not exit by itself
  int signal = 0;      // that ended it
  bool timed_out = false;
};

// `environment` ("NAME=value") is added to this process's. Throws Error if it cannot be started.
ChildResult run_child(const std::string& program, const std::vector<std::string>& arguments,
                      const std::vector<std::string>& environment, std::chrono::seconds limit);

}  // namespace krserve::selftest
