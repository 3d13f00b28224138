// What a device costs through the seam, which is how krserve uses it.
#pragma once

#include <memory>

#include "device/check_log.h"
#include "device/device.h"

namespace krserve::selftest {

// Of `samples` each; copies and reads of at most `bytes`. Facts, no checks.
void measure_device(CheckLog& log, const std::shared_ptr<Device>& device, int samples,
                    uint64_t bytes);

}  // namespace krserve::selftest
