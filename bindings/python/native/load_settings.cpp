#include "native/load_settings.h"

#include "base/log.h"

namespace krserve::python {

LoadedConfig load_settings(const std::string& file, const std::string& preset,
                           const SettingTexts& values) {
  ConfigSources sources;
  sources.environment = krserve_environment();
  sources.file = find_config_file(file, sources.environment);
  sources.preset = preset;
  for (const auto& [path, text, origin] : values) sources.overrides.push_back({path, text, origin});
  LoadedConfig config = load_config(sources);
  set_log_level(parse_log_level(config.values.logging.level));
  for (const std::string& warning : config.warnings) log().warn("{}", warning);
  return config;
}

}  // namespace krserve::python
