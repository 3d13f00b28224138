// What Metal says about the device and the system: name, memory, and which of its ways to go.
#pragma once

#include <cstdint>
#include <string>

#include "device/metal/api/device.h"
#include "device/metal/metal_options.h"
#include "kernels/metal_kernels.h"

namespace krserve {

struct MetalFacts {
  std::string name;                // "Apple M3 Max (Metal 4)"
  uint64_t working_set_bytes = 0;  // what the system lets the GPU keep resident
  uint64_t max_buffer_bytes = 0;
  bool metal4 = false;          // the path taken
  bool residency_sets = false;  // macOS 15
  bool math_modes = false;      // macOS 15; before, fast math is on or off
  kernels::metal::GpuFacts gpu;
};

// Throws DeviceError if the path asked for is not there.
MetalFacts read_metal_facts(metal::MTLDevice& device, MetalPath path);

}  // namespace krserve
