// Runs what may take long without Python's lock, so that other Python threads go on.
#pragma once

#include <nanobind/nanobind.h>

#include <chrono>
#include <functional>
#include <optional>
#include <utility>

#include "device/timeline.h"  // kNoTimeout

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

// Whether `wait(piece)`, called without Python's lock, was true within `timeout`: in short pieces,
// with Python's signal handlers (Ctrl-C) between them. Throws what a handler raised.
bool wait_interruptibly(std::chrono::nanoseconds timeout,
                        const std::function<bool(std::chrono::nanoseconds piece)>& wait);

}  // namespace krserve::python
