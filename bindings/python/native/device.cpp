#include "native/device.h"

#include <fmt/format.h>
#include <nanobind/stl/string.h>

#include <map>
#include <mutex>

#include "native/gil.h"

namespace krserve::python {
namespace {

// What components of one name share, so that buffers can go from one to the other.
std::shared_ptr<Device> shared_device(const std::string& name) {
  static std::mutex mutex;
  static std::map<std::string, std::weak_ptr<Device>> open;
  const std::lock_guard lock(mutex);
  std::weak_ptr<Device>& known = open[name];
  if (auto device = known.lock()) return device;
  DeviceOptions options;
  options.backend = name;
  auto device = make_device(options);
  // "auto" and the name of what it stands for are one device.
  std::weak_ptr<Device>& same = open[device->info().backend];
  if (auto other = same.lock()) device = other;
  open[device->info().backend] = device;
  open[name] = device;
  return device;
}

std::shared_ptr<Device> open_device(const std::string& name, uint32_t threads) {
  DeviceOptions options;
  options.backend = name;
  options.threads = threads;
  return make_device(options);
}

nb::dict memory_of(const DeviceHandle& self) {
  const DeviceMemory memory = self.device->memory();
  nb::dict out;
  out["allocations"] = memory.allocations;
  out["live_bytes"] = memory.live_bytes;
  out["peak_bytes"] = memory.peak_bytes;
  return out;
}

}  // namespace

std::shared_ptr<Device> device_from(nb::handle given) {
  DeviceHandle handle;
  if (nb::try_cast(given, handle)) return handle.device;
  std::string name;
  if (!nb::try_cast(given, name)) {
    throw nb::type_error("device: expected a Device or one of 'auto', 'cpu', 'cuda', 'metal'");
  }
  return without_gil([&] { return shared_device(name); });
}

void bind_device(nb::module_& module) {
  nb::class_<DeviceHandle>(module, "Device",
                           "A device of its own. Components that are to exchange buffers need one "
                           "Device; those given the same name share one.")
      .def(
          "__init__",
          [](DeviceHandle* self, const std::string& name, uint32_t threads) {
            auto device = without_gil([&] { return open_device(name, threads); });
            new (self) DeviceHandle{std::move(device)};
          },
          nb::arg("name") = "auto", nb::kw_only(), nb::arg("threads") = 0,
          "`name`: auto, cpu, cuda or metal. `threads`: CPU workers, 0 = all cores. Raises "
          "DeviceError if there is no such device here.")
      .def_prop_ro("backend", [](const DeviceHandle& self) { return self.device->info().backend; })
      .def_prop_ro("name", [](const DeviceHandle& self) { return self.device->info().name; })
      .def_prop_ro("memory_bytes",
                   [](const DeviceHandle& self) { return self.device->info().memory_bytes; })
      .def_prop_ro(
          "unified_memory",
          [](const DeviceHandle& self) { return self.device->info().unified_memory; },
          "Whether the host's arrays can be laid over its buffers without a copy.")
      .def_prop_ro("alignment_bytes",
                   [](const DeviceHandle& self) { return self.device->info().alignment_bytes; })
      .def("memory", &memory_of, "What was asked of the device since it was opened.",
           nb::sig("def memory(self) -> dict[str, int]"))
      .def(
          "__eq__",
          [](const DeviceHandle& self, nb::handle other) {
            DeviceHandle right;
            return nb::try_cast(other, right) && self.device == right.device;
          },
          nb::sig("def __eq__(self, other: object, /) -> bool"))
      .def("__hash__",
           [](const DeviceHandle& self) {
             return static_cast<int64_t>(std::hash<Device*>()(self.device.get()) >> 4);
           })
      .def("__repr__", [](const DeviceHandle& self) {
        return fmt::format("Device('{}': {})", self.device->info().backend,
                           self.device->info().name);
      });
}

}  // namespace krserve::python
