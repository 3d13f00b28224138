// Helpers of the configuration tests: load from text, read the message of a refusal.
#pragma once

#include <fstream>
#include <sstream>
#include <string>

#include "base/error.h"
#include "config/loader.h"
#include "config/yaml_reader.h"

namespace krserve::testing_support {

inline LoadedConfig load_text(const std::string& yaml) {
  LoadedConfig config;
  Problems problems;
  apply_yaml(config, yaml, "config/runtime.yaml", problems);
  problems.throw_if_any();
  return config;
}

// The message of the ConfigError that `action` throws; "" when it throws none.
template <class Action>
std::string refusal(Action&& action) {
  try {
    action();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

inline std::string refusal_of(const std::string& yaml) {
  return refusal([&] { load_text(yaml); });
}

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace krserve::testing_support
