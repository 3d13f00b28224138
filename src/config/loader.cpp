#include "config/loader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <optional>

#include "base/error.h"
#include "config/checks.h"
#include "config/nearest.h"
#include "config/presets.h"
#include "config/problems.h"
#include "config/value.h"
#include "config/yaml_reader.h"

extern char** environ;

namespace krserve {
namespace {

constexpr std::string_view kPrefix = "KRSERVE_";
constexpr std::string_view kFileVariable = "KRSERVE_CONFIG";
constexpr const char* kDefaultFile = "config/runtime.yaml";

// What is wrong, if anything; the value is untouched then.
std::optional<std::string> set_value(LoadedConfig& config, std::string_view path,
                                     std::string_view text, std::string_view origin) {
  const Field* field = find_field(path);
  if (field == nullptr && find_section(path) != nullptr) {
    return fmt::format("{}: {} is a section; set one of its keys: {}", origin, path,
                       fmt::join(keys_of(path), ", "));
  }
  if (field == nullptr) {
    return fmt::format("{}: unknown key {}; {}", origin, path, key_hint(path));
  }
  if (const auto wrong = assign(*field, config.values, raw_from_text(*field, text))) {
    return fmt::format("{}: {} = {}", origin, path, *wrong);
  }
  config.origins[std::string(path)] = origin;
  return std::nullopt;
}

// Other programs own variables too, so an unknown one is a warning, and only when it looks like
// ours.
void warn_of_unknown_variable(LoadedConfig& config, const std::string& name) {
  std::vector<std::string> known;
  for (const Field& field : config_fields()) known.push_back(environment_name(field.path));
  const std::vector<std::string_view> views(known.begin(), known.end());
  for (const Section& section : config_sections()) {
    if (!name.starts_with(environment_name(section.path) + "_")) continue;
    std::string_view best;
    size_t best_distance = 4;
    for (const std::string_view candidate : views) {
      const size_t distance = edit_distance(name, candidate);
      if (distance >= best_distance) continue;
      best = candidate;
      best_distance = distance;
    }
    config.warnings.push_back(
        fmt::format("environment variable {} sets nothing{}", name,
                    best.empty() ? "" : fmt::format("; did you mean {}?", best)));
    return;
  }
}

void apply_environment(LoadedConfig& config, const Environment& environment, Problems& problems) {
  std::map<std::string, std::string_view, std::less<>> paths;
  for (const Field& field : config_fields()) paths[environment_name(field.path)] = field.path;
  for (const auto& [name, text] : environment) {
    const auto it = paths.find(name);
    if (it == paths.end()) {
      warn_of_unknown_variable(config, name);
    } else if (auto wrong = set_value(config, it->second, text, name)) {
      problems.add(std::move(*wrong));
    }
  }
}

}  // namespace

LoadedConfig load_config(const ConfigSources& sources) {
  LoadedConfig config;
  Problems problems;
  if (!sources.file.empty()) apply_yaml_file(config, sources.file, problems);
  if (!sources.preset.empty()) apply_preset(config, sources.preset, problems);
  apply_environment(config, sources.environment, problems);
  for (const ConfigOverride& item : sources.overrides) {
    if (auto wrong = set_value(config, item.path, item.text, item.origin)) {
      problems.add(std::move(*wrong));
    }
  }
  problems.throw_if_any();
  for (std::string& warning : config_warnings(config.values)) {
    config.warnings.push_back(std::move(warning));
  }
  return config;
}

void apply_override(LoadedConfig& config, std::string_view path, std::string_view text,
                    std::string_view origin) {
  if (auto wrong = set_value(config, path, text, origin)) throw ConfigError("config.load", *wrong);
}

ConfigOverride parse_set_argument(std::string_view argument) {
  const auto equals = argument.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    throw_error<UsageError>("config.set", "--set {}: expected path=value, as in server.port=8081",
                            argument);
  }
  return {std::string(argument.substr(0, equals)), std::string(argument.substr(equals + 1)),
          "--set"};
}

Environment krserve_environment() {
  Environment found;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const auto equals = text.find('=');
    if (equals == std::string_view::npos || !text.starts_with(kPrefix)) continue;
    found.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return found;
}

std::string find_config_file(const std::string& given, const Environment& environment) {
  if (!given.empty()) return given;
  const auto it = environment.find(kFileVariable);
  if (it != environment.end() && !it->second.empty()) return it->second;
  std::error_code code;
  return std::filesystem::exists(kDefaultFile, code) ? kDefaultFile : "";
}

}  // namespace krserve
