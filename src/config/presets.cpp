#include "config/presets.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "config/nearest.h"
#include "config/yaml_reader.h"

namespace krserve {

void apply_preset(LoadedConfig& config, std::string_view name, Problems& problems) {
  const auto all = presets();
  const auto it = std::ranges::find(all, name, &Preset::name);
  if (it != all.end()) {
    apply_yaml(config, it->yaml, it->source, problems);
    return;
  }
  std::vector<std::string_view> names;
  for (const Preset& preset : all) names.push_back(preset.name);
  const std::string_view near = nearest_word(name, names);
  problems.add(fmt::format("unknown preset {}; {}the presets are {}", name,
                           near.empty() ? "" : fmt::format("did you mean {}? ", near),
                           fmt::join(names, ", ")));
}

LoadedConfig load_preset(std::string_view name) {
  LoadedConfig config;
  Problems problems;
  apply_preset(config, name, problems);
  problems.throw_if_any();
  return config;
}

}  // namespace krserve
