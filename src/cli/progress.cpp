#include "cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "base/units.h"

namespace krserve::cli {
namespace {

constexpr int kWidth = 30;
constexpr uint64_t kRedrawNs = 100'000'000;

}  // namespace

ProgressBar::ProgressBar(std::string title)
    : title_(std::move(title)), terminal_(isatty(STDERR_FILENO) == 1) {}

ProgressBar::~ProgressBar() {
  finish();
}

void ProgressBar::update(double fraction, const std::string& detail) {
  if (!terminal_) return;
  const uint64_t now = now_ns();
  if (fraction < 1 && drawn_ && now - last_ns_ < kRedrawNs) return;
  last_ns_ = now;
  drawn_ = true;
  const int filled = static_cast<int>(std::clamp(fraction, 0.0, 1.0) * kWidth);
  const std::string line =
      fmt::format("\r{} [{:<{}}] {:3.0f} % {}\033[K", title_,
                  std::string(static_cast<size_t>(filled), '='), kWidth, fraction * 100, detail);
  std::fputs(line.c_str(), stderr);
  std::fflush(stderr);
}

void ProgressBar::finish() {
  if (!drawn_) return;
  drawn_ = false;
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
}

}  // namespace krserve::cli
