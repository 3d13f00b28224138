// The Metal back end: Apple silicon. Metal 4 where the system has it, else Metal 3.
#pragma once

#include <memory>
#include <string>

#include "device/device.h"
#include "device/metal/metal_options.h"

namespace krserve {

// Empty if this krserve has the back end and there is a device for it, else the reason.
std::string metal_missing_reason();
bool has_metal_device();
// Throws DeviceError with the reason and the remedy.
std::shared_ptr<Device> make_metal_device(const MetalDeviceOptions& options = {});

}  // namespace krserve
