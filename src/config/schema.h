// The one table of settings: it drives parsing, unknown-key hints, the environment, --set and
// config/runtime.yaml.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/runtime_config.h"

namespace krserve {

using BoolRef = bool& (*)(RuntimeConfig&);
using IntRef = int64_t& (*)(RuntimeConfig&);
using TextRef = std::string& (*)(RuntimeConfig&);
using ListRef = std::vector<int64_t>& (*)(RuntimeConfig&);

struct Field {
  std::string_view path;  // "server.port"
  std::variant<BoolRef, IntRef, TextRef, ListRef> ref;
  int64_t min = 0;                        // of an integer, and of each element of a list
  int64_t max = 0;                        // inclusive
  std::vector<std::string_view> choices;  // when not empty, the only values allowed
  std::string_view doc;                   // one line, the comment in config/runtime.yaml
  std::string_view low_message = {};      // said before the range when a number is below min
  bool secret = false;                    // never printed
};

struct Section {
  std::string_view path;  // "metal_optimizations.memory_pool"
  std::string_view doc;
  bool shows_ranges = true;  // off where the comments are the seed's own, word for word
};

// In the order of config/runtime.yaml; a section stands before everything in it.
std::span<const Field> config_fields();
std::span<const Section> config_sections();

// Null when there is no such path.
const Field* find_field(std::string_view path);
const Section* find_section(std::string_view path);

// "server" of "server.port"; empty at the top level.
std::string_view parent_path(std::string_view path);
// "port" of "server.port".
std::string_view leaf_name(std::string_view path);

// Names of the fields and sections right below `section` ("" is the top level).
std::vector<std::string_view> keys_of(std::string_view section);

// "KRSERVE_SERVER_PORT" for "server.port".
std::string environment_name(std::string_view path);

// "an integer in 1..65535", "true or false", "one of f16, bf16, f32", ...
std::string expected_value(const Field& field);

}  // namespace krserve
