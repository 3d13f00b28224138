#include "native/gil.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

namespace krserve::python {
namespace {

constexpr std::chrono::nanoseconds kPiece = std::chrono::milliseconds(100);
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

bool wait_interruptibly(std::chrono::nanoseconds timeout,
                        const std::function<bool(std::chrono::nanoseconds)>& wait) {
  const auto start = std::chrono::steady_clock::now();
  for (;;) {
    const std::chrono::nanoseconds spent = std::chrono::steady_clock::now() - start;
    const bool last = timeout != kNoTimeout && timeout - spent <= kPiece;
    const auto piece = last ? std::max(timeout - spent, std::chrono::nanoseconds::zero()) : kPiece;
    if (without_gil([&] { return wait(piece); })) return true;
    if (last) return false;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
  }
}

}  // namespace krserve::python
