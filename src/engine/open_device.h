// The device that a configuration names.
#pragma once

#include <memory>

#include "config/runtime_config.h"
#include "device/device.h"

namespace krserve::engine {

// Throws DeviceError for a back end that is not in this build or has no device here.
std::shared_ptr<Device> open_device(const RuntimeConfig& config);

}  // namespace krserve::engine
