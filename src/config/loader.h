// Loads the configuration: defaults < YAML file < preset < environment < command line, each value
// with its origin.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "config/runtime_config.h"

namespace krserve {

struct LoadedConfig {
  RuntimeConfig values;
  // Path to where its value was set: "config/runtime.yaml:12", "KRSERVE_SERVER_PORT", "--port".
  // A path that is not here has its default.
  std::map<std::string, std::string, std::less<>> origins;
  // Settings that are legal and will not do what they seem to; the program logs them at start.
  std::vector<std::string> warnings;
};

// One setting from the command line; `origin` is the flag as typed ("--set", "--port").
struct ConfigOverride {
  std::string path;
  std::string text;
  std::string origin;
};

using Environment = std::map<std::string, std::string, std::less<>>;

struct ConfigSources {
  std::string file;    // empty: none
  std::string preset;  // empty: none
  Environment environment;
  std::vector<ConfigOverride> overrides;
};

// Throws ConfigError that names every problem found in all sources, up to 20.
LoadedConfig load_config(const ConfigSources& sources);

// Sets one value from its text ("8080", "true", "[32, 128]"); throws ConfigError and leaves the
// value alone.
void apply_override(LoadedConfig& config, std::string_view path, std::string_view text,
                    std::string_view origin);

// Splits "path=value" of --set; throws UsageError without an '='.
ConfigOverride parse_set_argument(std::string_view argument);

// This process's variables that start with KRSERVE_.
Environment krserve_environment();

// `given` (--config), else $KRSERVE_CONFIG, else config/runtime.yaml below the working directory
// when it exists, else "".
std::string find_config_file(const std::string& given, const Environment& environment);

}  // namespace krserve
