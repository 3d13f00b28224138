// Runs what may take long without Python's lock, so that other Python threads go on.
#pragma once

#include <nanobind/nanobind.h>

#include <chrono>
#include <optional>
#include <utility>

#include "device/timeline.h"

namespace krserve::python {

namespace nb = nanobind;

// `work` touches no Python object.
template <class Work>
decltype(auto) without_gil(Work&& work) {
  const nb::gil_scoped_release released;
  return std::forward<Work>(work)();
}

// Python's "timeout": seconds, None = without a limit. Throws ConfigError for a negative one.
std::chrono::nanoseconds to_timeout(const std::optional<double>& seconds);

// Waits in short pieces and lets Python's signal handlers (Ctrl-C) run between them.
WaitResult wait_interruptibly(const TimelinePoint& point, std::chrono::nanoseconds timeout);

}  // namespace krserve::python
