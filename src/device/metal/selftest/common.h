// What the checks of Metal share.
#pragma once

#include "device/metal/api/device.h"

namespace krserve {

// The oldest system that the back end runs on.
inline constexpr int kOldestMacos = 14;

// Major version of the system: one that the back end tells apart.
int macos_version();
// Null where there is none.
metal::Owned<metal::MTLDevice> system_metal_device();

}  // namespace krserve
