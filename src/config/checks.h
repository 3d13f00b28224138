// Settings that are each legal and together do not do what they seem to: warnings at start, not
// errors.
#pragma once

#include <string>
#include <vector>

#include "config/runtime_config.h"

namespace krserve {

std::vector<std::string> config_warnings(const RuntimeConfig& config);

}  // namespace krserve
