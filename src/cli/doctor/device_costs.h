// What basic operations cost on a device: medians of many.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "device/device.h"

namespace krserve::cli {

struct DeviceCosts {
  double read_gbs = 0;     // memory read bandwidth
  double matmul_gbs = 0;   // 4-bit weights (group 64) through a matmul of one row
  double dispatch_us = 0;  // a tiny dispatch and a barrier inside a command buffer
  double launch_us = 0;    // commit of an empty command buffer until the host knows its end
  double device_allocation_us = 0;  // 1 MiB buffer from the device, first byte touched
  double pool_allocation_us = 0;    // the same from a memory pool
  double copy_gbs = 0;              // one copy of 64 MiB
};

inline constexpr int kCostSamples = 101;

DeviceCosts measure_costs(const std::shared_ptr<Device>& device);
void print_costs(const DeviceCosts& costs);

}  // namespace krserve::cli
