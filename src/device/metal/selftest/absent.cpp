// In the place of the checks of Metal where the back end is not built.
#include "base/error.h"
#include "device/metal/metal_device.h"
#include "device/metal_checks.h"

namespace krserve {

void require_metal() {
  throw_error<DeviceError>("metal_selftest.open", "{}", metal_missing_reason());
}

void check_metal_system(CheckLog&, MetalPath) {
  require_metal();
}

void check_metal_messages(CheckLog&) {
  require_metal();
}

void check_metal_kernels(CheckLog&) {
  require_metal();
}

void measure_metal(CheckLog&, MetalPath, int) {
  require_metal();
}

}  // namespace krserve
