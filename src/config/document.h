// Writes the configuration down: the documented config/runtime.yaml, and the effective values with
// their origins.
#pragma once

#include <string>
#include <vector>

#include "config/loader.h"

namespace krserve {

// The text of config/runtime.yaml: every key, its default, its comment.
std::string documented_yaml();

// The text of docs/CONFIGURATION.md: the same as tables, with ranges, environment names and
// presets.
std::string documented_markdown();

struct EffectiveValue {
  std::string path;
  std::string value;   // as YAML writes it; a secret is "(hidden)" unless it is empty
  std::string origin;  // "default", "config/runtime.yaml:12", "KRSERVE_SERVER_PORT", "--port"
};

// Every setting, in the order of config/runtime.yaml.
std::vector<EffectiveValue> effective_values(const LoadedConfig& config);

}  // namespace krserve
