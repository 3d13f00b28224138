// A device as Python sees it: a handle that components share.
#pragma once

#include <nanobind/nanobind.h>

#include <memory>
#include <string>

#include "device/device.h"

namespace krserve::python {

struct DeviceHandle {
  std::shared_ptr<Device> device;
};

// A Device object as it is, or "auto", "cpu", "cuda", "metal": the one of that name that the
// process has open, or a new one. Throws DeviceError, ConfigError, TypeError.
std::shared_ptr<Device> device_from(nanobind::handle given);

void bind_device(nanobind::module_& module);

}  // namespace krserve::python
