// Element types of arrays over buffers: their names, their DLPack codes, their buffer formats.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <string_view>

namespace krserve::python {

struct Dtype {
  std::string_view name;  // "float32"
  nanobind::dlpack::dtype code;
  const char* format;  // of the struct module; null where it has none (bfloat16)
  uint32_t bytes;
};

// The first is uint8.
const Dtype& byte_type();
// Throws ConfigError for a code that has no name here (complex numbers, 8-bit floats).
const Dtype& dtype_from(nanobind::dlpack::dtype code);
// A name, or an object of numpy, torch or mlx that has one (numpy.float32, torch.bfloat16). Throws
// ConfigError that lists the names.
const Dtype& dtype_from(nanobind::handle given);

}  // namespace krserve::python
