// The configuration that Python's callers and its runtime start with.
#pragma once

#include <string>
#include <tuple>
#include <vector>

#include "config/loader.h"

namespace krserve::python {

// Path, text and where it was given: ("engine.threads", "2", "--threads").
using SettingTexts = std::vector<std::tuple<std::string, std::string, std::string>>;

// In the program's order: defaults, file, preset, environment, and `values` on top. Applies
// logging.level and logs the warnings. Throws ConfigError.
LoadedConfig load_settings(const std::string& file, const std::string& preset,
                           const SettingTexts& values);

}  // namespace krserve::python
