// Flags that several commands share, and the configuration that they lead to.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "config/loader.h"

namespace CLI {
class App;
}

namespace krserve::cli {

// Exit codes of the program.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitConfig = 78;  // EX_CONFIG of sysexits.h

struct CommonOptions {
  std::string config_file;
  std::string preset;
  std::vector<std::string> sets;  // "path=value"
  // Flags with a name of their own: configuration path, text, flag.
  std::vector<ConfigOverride> overrides;

  // `--name VALUE` sets the configuration value at `path`.
  void add_setting(CLI::App& app, const std::string& flags, const std::string& path,
                   const std::string& help);
  // --config, --preset, --set, -m/--model, --device, --threads, --ctx-size, --log-level.
  void add_to(CLI::App& app);
  // CLI > environment > preset > YAML > defaults; applies logging.level and logs the warnings.
  LoadedConfig load() const;
};

// model.path; throws UsageError when there is none.
const std::string& model_argument(const RuntimeConfig& config);

// The directory of model.path, which may be a Hugging Face id: downloaded where needed, with a
// progress bar. Throws UsageError when there is none, ModelError when it cannot be had.
std::filesystem::path model_directory(const RuntimeConfig& config);

}  // namespace krserve::cli
