// Whether a machine can carry a configuration: each check with its numbers and the remedy.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/runtime_config.h"
#include "device/device.h"

namespace krserve::cli {

struct Requirement {
  bool met = false;
  std::string what;    // with the numbers
  std::string remedy;  // empty when met
};

// `available_bytes`: memory that is free now, 0 if unknown. `cores` of the machine.
std::vector<Requirement> check_requirements(const DeviceInfo& device, const RuntimeConfig& config,
                                            uint64_t available_bytes, uint32_t cores);

}  // namespace krserve::cli
