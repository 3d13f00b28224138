// The CPU back end: a real asynchronous device with a submission thread, a worker team and copy
// threads.
#pragma once

#include <memory>
#include <optional>

#include "device/device.h"
#include "kernels/cpu_kernels.h"

namespace krserve {

struct CpuDeviceOptions {
  uint32_t threads = 0;                          // workers; 0 = all cores this process may use
  std::optional<kernels::SimdLevel> simd_level;  // none = the best
  // How long an idle worker spins before it parks.
  uint32_t spin_us = 50;
};

std::shared_ptr<Device> make_cpu_device(const CpuDeviceOptions& options = {});

}  // namespace krserve
