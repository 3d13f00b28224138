#include "native/gil.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace krserve::python {
namespace {

constexpr std::chrono::nanoseconds kSlice = std::chrono::milliseconds(100);
constexpr double kLongestSeconds = 1e9;

}  // namespace

std::chrono::nanoseconds to_timeout(const std::optional<double>& seconds) {
  if (!seconds || *seconds > kLongestSeconds) return kNoTimeout;
  if (std::isnan(*seconds) || *seconds < 0) {
    throw_error<ConfigError>("python.wait", "timeout = {}; expected seconds >= 0, or None",
                             *seconds);
  }
  return std::chrono::nanoseconds(static_cast<int64_t>(*seconds * 1e9));
}

WaitResult wait_interruptibly(const TimelinePoint& point, std::chrono::nanoseconds timeout) {
  const auto start = std::chrono::steady_clock::now();
  for (;;) {
    const auto spent = std::chrono::steady_clock::now() - start;
    const auto left = timeout == kNoTimeout
                          ? kSlice
                          : std::max(timeout - spent, std::chrono::nanoseconds::zero());
    const auto slice = std::min(kSlice, left);
    if (without_gil([&] { return point.wait(slice); }) == WaitResult::kReached) {
      return WaitResult::kReached;
    }
    if (slice == left && timeout != kNoTimeout) return WaitResult::kTimeout;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
  }
}

}  // namespace krserve::python
