// In the place of the Metal back end where it is not built.
#include "base/error.h"
#include "device/metal/metal_device.h"

namespace krserve {

std::string metal_missing_reason() {
  return "this krserve has no metal back end, which is for macOS";
}

bool has_metal_device() {
  return false;
}

std::shared_ptr<Device> make_metal_device(const MetalDeviceOptions&) {
  throw DeviceError("device.open",
                    "this krserve has no metal back end, which is for macOS; use device: cpu");
}

}  // namespace krserve
