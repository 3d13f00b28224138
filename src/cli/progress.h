// A progress bar on stderr, shown only when that is a terminal.
#pragma once

#include <cstdint>
#include <string>

namespace krserve::cli {

class ProgressBar {
 public:
  explicit ProgressBar(std::string title);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // 0..1; drawn at most ten times a second.
  void update(double fraction, const std::string& detail = "");
  void finish();

 private:
  std::string title_;
  bool terminal_;
  bool drawn_ = false;
  uint64_t last_ns_ = 0;
};

}  // namespace krserve::cli
