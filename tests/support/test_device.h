// The device that the suites of models and engine run on: KRSERVE_TEST_DEVICE, or the CPU.
#pragma once

#include <cstdlib>
#include <memory>
#include <string>

#include "device/device.h"

namespace krserve::test {

inline std::string backend() {
  const char* name = std::getenv("KRSERVE_TEST_DEVICE");
  return name == nullptr || *name == '\0' ? "cpu" : name;
}

// Throws DeviceError if it is not in this build or not on this machine: a suite that was asked to
// run on a device must not pass without it.
inline std::shared_ptr<Device> open_device(uint32_t threads = 0) {
  return make_device({.backend = backend(), .threads = threads});
}

}  // namespace krserve::test
