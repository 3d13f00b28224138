#include "native/dtype.h"

#include <fmt/format.h>
#include <nanobind/stl/string.h>

#include <algorithm>
#include <array>
#include <string>

#include "base/error.h"

namespace krserve::python {
namespace {

namespace nb = nanobind;

template <class T>
constexpr Dtype of(std::string_view name, const char* format) {
  return {name, nb::dtype<T>(), format, sizeof(T)};
}

constexpr nb::dlpack::dtype float_code(nb::dlpack::dtype_code code) {
  return {static_cast<uint8_t>(code), 16, 1};
}

constexpr std::array kTypes = {
    of<uint8_t>("uint8", "B"),
    of<int8_t>("int8", "b"),
    of<uint16_t>("uint16", "H"),
    of<int16_t>("int16", "h"),
    of<uint32_t>("uint32", "I"),
    of<int32_t>("int32", "i"),
    of<uint64_t>("uint64", "Q"),
    of<int64_t>("int64", "q"),
    Dtype{"float16", float_code(nb::dlpack::dtype_code::Float), "e", 2},
    Dtype{"bfloat16", float_code(nb::dlpack::dtype_code::Bfloat), nullptr, 2},
    of<float>("float32", "f"),
    of<double>("float64", "d"),
    of<bool>("bool", "?"),
};

// "float32" for "float32", numpy.float32, numpy.dtype("float32"), torch.float32, mlx.core.float32.
std::string name_of(nb::handle given) {
  if (PyUnicode_Check(given.ptr())) return nb::cast<std::string>(given);
  for (const char* attribute : {"__name__", "name"}) {
    if (!nb::hasattr(given, attribute)) continue;
    const nb::object name = given.attr(attribute);
    if (PyUnicode_Check(name.ptr())) return nb::cast<std::string>(name);
  }
  const auto text = nb::cast<std::string>(nb::str(given));
  return text.substr(text.rfind('.') + 1);
}

}  // namespace

const Dtype& byte_type() {
  return kTypes[0];
}

const Dtype& dtype_from(nb::dlpack::dtype code) {
  const auto* it = std::ranges::find(kTypes, code, &Dtype::code);
  if (it != kTypes.end()) return *it;
  throw_error<ConfigError>("buffer.dtype", "DLPack type (code {}, {} bits, {} lanes) has no name",
                           code.code, code.bits, code.lanes);
}

const Dtype& dtype_from(nb::handle given) {
  const std::string name = name_of(given);
  const auto* it = std::ranges::find(kTypes, std::string_view(name), &Dtype::name);
  if (it != kTypes.end()) return *it;
  std::string known;
  for (const Dtype& type : kTypes)
    known += fmt::format("{}{}", known.empty() ? "" : ", ", type.name);
  throw_error<ConfigError>("buffer.dtype", "unknown element type '{}'; use one of {}", name, known);
}

}  // namespace krserve::python
