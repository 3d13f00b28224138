// Checks of Metal itself, below the seam: for krserve metal-selftest, on a Mac seen the first time.
#pragma once

#include "device/check_log.h"
#include "device/metal/metal_options.h"

namespace krserve {

// Throws DeviceError where this build has no Metal, or Metal has no device here.
void require_metal();

// What the system says of itself and of the device, and which path the device would take.
void check_metal_system(CheckLog& log, MetalPath path);
// Each message that is sent: is it understood, and of the types that it is sent with?
void check_metal_messages(CheckLog& log);
// The kernels' text in each language version that the system has, and a pipeline of each kernel.
void check_metal_kernels(CheckLog& log);
// Metal's own costs, without the back end in between: of `samples` each.
void measure_metal(CheckLog& log, MetalPath path, int samples);

}  // namespace krserve
