#include "native/memory_pool.h"

#include <fmt/format.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <bit>
#include <limits>

#include "base/error.h"
#include "base/units.h"
#include "native/device.h"
#include "native/gil.h"

namespace krserve::python {
namespace {

void init(Pool* self, nb::handle config, nb::handle device, uint64_t limit_mb,
          const nb::kwargs& settings) {
  auto read = read_settings<MemoryPoolConfig>(config, settings);
  new (self) Pool(device_from(device), read, limit_mb);
}

}  // namespace

Pool::Pool(std::shared_ptr<Device> device, const PoolSettings& settings, uint64_t limit_mb)
    : device_(std::move(device)), settings_(settings) {
  const runtime::MemoryLimit limit{limit_mb * kMiB, 0};
  pool_ = without_gil(
      [&] { return std::make_shared<runtime::MemoryPool>(device_, settings_.get(), limit); });
}

ArrayBuffer Pool::allocate(uint64_t bytes, uint64_t alignment) {
  if (bytes == 0) throw ConfigError("memory_pool.allocate", "0 bytes were asked for; give >= 1");
  if (!std::has_single_bit(alignment)) {
    throw_error<ConfigError>("memory_pool.allocate", "alignment = {}; expected a power of two",
                             alignment);
  }
  const bool padded = alignment > device_->info().alignment_bytes;
  if (padded && bytes > std::numeric_limits<uint64_t>::max() - alignment) {
    throw_error<OutOfMemoryError>("memory_pool.allocate",
                                  "{} bytes aligned to {} are more than there can be", bytes,
                                  alignment);
  }
  const uint64_t asked = padded ? bytes + alignment : bytes;
  auto memory = std::make_shared<Memory>();
  memory->device = device_;
  memory->owner = pool_;
  memory->allocation =
      without_gil([&] { return pool_->allocate(asked, runtime::MemoryTag::kOther); });
  const BufferView view = memory->allocation.view();
  const auto address = reinterpret_cast<uintptr_t>(view.address());
  const uint64_t skip = padded ? (alignment - address % alignment) % alignment : 0;
  return {std::move(memory), view.sub(skip, bytes), byte_type(), {static_cast<int64_t>(bytes)}};
}

ArrayBuffer Pool::empty(const std::vector<int64_t>& shape, const Dtype& dtype) {
  return allocate(bytes_of(shape, dtype), 1).with(dtype, shape, 0);
}

void Pool::free(ArrayBuffer& buffer) const {
  if (buffer.memory()->owner != pool_) {
    throw ConfigError("memory_pool.free", "the buffer is not from this pool");
  }
  buffer.free();
}

void bind_memory_pool(nb::module_& module) {
  nb::class_<Pool> cls(module, "MetalMemoryPool",
                       "Pre-allocated heaps of device memory, on any device. Thread-safe.");
  cls.attr("Config") = module.attr("MetalMemoryPoolConfig");
  cls.def("__init__", &init, nb::arg("config") = nb::none(), nb::kw_only(),
          nb::arg("device") = "auto", nb::arg("limit_mb") = 0, nb::arg("settings"),
          nb::sig("def __init__(self, config: MetalMemoryPoolConfig | dict[str, typing.Any] | None "
                  "= None, *, device: Device | str = 'auto', limit_mb: int = 0, **settings: "
                  "typing.Any) -> None"),
          "Makes all heaps. Settings may be given by keyword too. `limit_mb`: the most that the "
          "device may give, 0 = no limit. Raises ValueError for a setting out of range, "
          "MemoryError if the heaps cannot be had (both are RuntimeErrors).")
      .def("allocate", &Pool::allocate, nb::arg("bytes"), nb::kw_only(), nb::arg("alignment") = 1,
           "A Buffer of uint8. Beyond the heaps it is an on-demand device buffer. Raises "
           "MemoryError when refused. `alignment`: of the address, a power of two.")
      .def(
          "empty",
          [](Pool& self, const std::vector<int64_t>& shape, nb::handle dtype) {
            return self.empty(shape, dtype_from(dtype));
          },
          nb::arg("shape"), nb::arg("dtype") = "float32",
          nb::sig("def empty(self, shape: collections.abc.Sequence[int], dtype: object = "
                  "'float32') -> Buffer"),
          "A Buffer of this shape and element type; what is in it is unspecified.")
      .def("free", &Pool::free, nb::arg("buffer"),
           "The same as buffer.free(). Raises ValueError for a buffer of another pool.")
      .def(
          "get_statistics", [](const Pool& self) { return self.runtime().statistics(); },
          nb::sig("def get_statistics(self) -> MetalMemoryPoolStatistics"))
      .def("reset_statistics", [](Pool& self) { self.runtime().reset_statistics(); })
      .def(
          "reset", [](Pool& self) { self.runtime().reset_statistics(); },
          "The same as reset_statistics().")
      .def(
          "trim", [](Pool& self) { return without_gil([&] { return self.runtime().trim(); }); },
          "Gives heaps that it grew by, and that are empty, back; returns the bytes.")
      .def(
          "check_integrity", [](const Pool& self) { return self.runtime().check_integrity(); },
          "Whether free and live memory add up to all.")
      .def_prop_ro("config", &Pool::settings, nb::rv_policy::copy)
      .def_prop_ro("device", [](const Pool& self) { return DeviceHandle{self.device()}; });
}

}  // namespace krserve::python
