// JSON-RPC over two file descriptors, for `python -m krserve.runtime`.
#pragma once

#include <nanobind/nanobind.h>

namespace krserve::python {

void bind_rpc(nanobind::module_& module);

}  // namespace krserve::python
