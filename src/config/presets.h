// The files of config/presets, compiled in so that --preset works wherever the program stands.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "config/loader.h"
#include "config/problems.h"

namespace krserve {

struct Preset {
  std::string_view name;    // "batch"
  std::string_view source;  // "config/presets/batch.yaml"
  const char* yaml;
};

// Sorted by name.
std::span<const Preset> presets();

// Overlays the preset on `config`; an unknown name is a problem that lists the known ones.
void apply_preset(LoadedConfig& config, std::string_view name, Problems& problems);

// Defaults plus the preset alone; throws ConfigError for an unknown name.
LoadedConfig load_preset(std::string_view name);

}  // namespace krserve
