#include "config/document.h"

#include <fmt/format.h>

#include <algorithm>

#include "config/schema.h"
#include "config/value.h"

namespace krserve {
namespace {

constexpr std::string_view kHead =
    "# Settings of krserve and their defaults. Precedence: command line (flags, --set path=value), "
    "then\n"
    "# environment (server.port is KRSERVE_SERVER_PORT), then --preset, then this file, then "
    "defaults.\n"
    "# Sizes in MB are MiB.\n";

std::string indent_of(std::string_view path) {
  return std::string(2 * static_cast<size_t>(std::ranges::count(path, '.')), ' ');
}

bool shows_range(const Field& field) {
  const bool number = std::holds_alternative<IntRef>(field.ref);
  const bool limited = number || !field.choices.empty();
  return limited && find_section(parent_path(field.path))->shows_ranges;
}

std::string allowed(const Field& field) {
  std::string out = expected_value(field);
  for (const std::string_view lead : {"an integer in ", "one of "}) {
    if (out.starts_with(lead)) out.erase(0, lead.size());
  }
  return out;
}

std::string field_line(const Field& field) {
  const std::string range = shows_range(field) ? fmt::format(" ({})", allowed(field)) : "";
  return fmt::format("{}{}: {}  # {}{}\n", indent_of(field.path), leaf_name(field.path),
                     value_text(field, RuntimeConfig{}), field.doc, range);
}

std::string section_lines(const Section& section) {
  const std::string indent = indent_of(section.path);
  return fmt::format("\n{}# {}\n{}{}:\n", indent, section.doc, indent, leaf_name(section.path));
}

}  // namespace

std::string documented_yaml() {
  std::string out(kHead);
  for (const Section& section : config_sections()) {
    out += section_lines(section);
    for (const Field& field : config_fields()) {
      if (parent_path(field.path) == section.path) out += field_line(field);
    }
  }
  return out;
}

std::vector<EffectiveValue> effective_values(const LoadedConfig& config) {
  std::vector<EffectiveValue> out;
  for (const Field& field : config_fields()) {
    const std::string value = value_text(field, config.values);
    const auto origin = config.origins.find(field.path);
    out.push_back({std::string(field.path), field.secret && value != "''" ? "(hidden)" : value,
                   origin == config.origins.end() ? "default" : origin->second});
  }
  return out;
}

}  // namespace krserve
