// krserve's C++ exceptions as Python classes.
#pragma once

#include <nanobind/nanobind.h>

namespace krserve::python {

// Error is a RuntimeError, as in C++; where Python has a fitting class, the subclass is that too:
// ConfigError and RequestError are ValueErrors, OutOfMemoryError is a MemoryError.
void bind_errors(nanobind::module_& module);

}  // namespace krserve::python
