// The counters of pool, blit queue, ring and engine as Python classes.
#pragma once

#include <nanobind/nanobind.h>

namespace krserve::python {

void bind_statistics(nanobind::module_& module);

}  // namespace krserve::python
