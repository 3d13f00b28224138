#include "cli/options.h"

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/log.h"
#include "cli/progress.h"
#include "hub/resolve_model.h"

namespace krserve::cli {

void CommonOptions::add_setting(CLI::App& app, const std::string& flags, const std::string& path,
                                const std::string& help) {
  const std::string origin = flags.substr(flags.rfind("--"));
  app.add_option_function<std::string>(
      flags,
      [this, path, origin](const std::string& text) { overrides.push_back({path, text, origin}); },
      help + " (" + path + ")");
}

void CommonOptions::add_to(CLI::App& app) {
  app.add_option("--config", config_file, "Configuration file (default: config/runtime.yaml)");
  app.add_option("--preset", preset, "Preset on top of the file: all-on, realtime, batch, debug");
  app.add_option("--set", sets, "Any setting, as path=value; may be repeated")
      ->allow_extra_args(false);
  add_setting(app, "-m,--model", "model.path",
              "Directory, tiny, or Hugging Face id owner/name[@revision]");
  add_setting(app, "--device", "engine.device", "auto, cpu, cuda or metal");
  add_setting(app, "--threads", "engine.threads", "CPU workers, 0 = all cores");
  add_setting(app, "--ctx-size", "engine.ctx_size", "Context in tokens");
  add_setting(app, "--log-level", "logging.level", "error, warn, info or debug");
}

LoadedConfig CommonOptions::load() const {
  ConfigSources sources;
  sources.environment = krserve_environment();
  sources.file = find_config_file(config_file, sources.environment);
  sources.preset = preset;
  for (const std::string& text : sets) sources.overrides.push_back(parse_set_argument(text));
  sources.overrides.insert(sources.overrides.end(), overrides.begin(), overrides.end());
  LoadedConfig config = load_config(sources);
  set_log_level(parse_log_level(config.values.logging.level));
  for (const std::string& warning : config.warnings) log().warn("{}", warning);
  return config;
}

const std::string& model_argument(const RuntimeConfig& config) {
  if (config.model.path.empty()) {
    throw UsageError("cli.model", "no model given; use -m MODEL, model.path or KRSERVE_MODEL_PATH");
  }
  return config.model.path;
}

std::filesystem::path model_directory(const RuntimeConfig& config) {
  ProgressBar bar("fetching");
  return hub::resolve_model(model_argument(config), [&](double fraction, const std::string& what) {
    bar.update(fraction, what);
  });
}

}  // namespace krserve::cli
