#include "config/document.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "config/presets.h"
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

constexpr std::string_view kMarkdownHead = R"(# Configuration reference

Every setting of krserve. Made from `src/config/schema.cpp`, like [config/runtime.yaml](../config/runtime.yaml): a change goes there, then
`KR_REGENERATE=1 build/release/bin/config_test --gtest_filter='Document.*'` writes both again, and `make test` refuses a stale one.

A value comes from the first of these that has it:

1. the command line: a flag of its own (`--port 8081`), or `--set server.port=8081`
2. the environment: `KRSERVE_SERVER_PORT=8081`
3. `--preset NAME`
4. the YAML file: `--config FILE`, else `$KRSERVE_CONFIG`, else `config/runtime.yaml` below the working directory
5. the default

An unknown key, a wrong type or a value out of range is refused with file, line and the nearest key, and exit code 78. `krserve doctor` prints
every value with where it was set. Sizes in MB are MiB (1,048,576 bytes). What the three optimizations do:
[METAL_OPTIMIZATIONS.md](METAL_OPTIMIZATIONS.md).
)";

// "|" would end a cell.
std::string cell(std::string_view text) {
  std::string out;
  for (const char c : text) out += c == '|' ? std::string("\\|") : std::string(1, c);
  return out;
}

std::string kind_of(const Field& field) {
  if (field.choices.empty()) return expected_value(field);
  return fmt::format("`{}`", fmt::join(field.choices, "`, `"));
}

std::string markdown_row(const Field& field) {
  return fmt::format("| `{}` | `{}` | {} | {} |\n", leaf_name(field.path),
                     value_text(field, RuntimeConfig{}), kind_of(field), cell(field.doc));
}

std::string markdown_section(const Section& section) {
  std::string rows;
  for (const Field& field : config_fields()) {
    if (parent_path(field.path) == section.path) rows += markdown_row(field);
  }
  return fmt::format(
      "\n## `{}`\n\n{}. Environment: `{}_` and the key in capitals.\n\n"
      "| Key | Default | Allowed | Meaning |\n|---|---|---|---|\n{}",
      section.path, cell(section.doc), environment_name(section.path), rows);
}

// What each preset sets, and what a key is without any.
std::string markdown_presets() {
  std::vector<std::pair<std::string_view, LoadedConfig>> all;
  for (const Preset& preset : presets()) all.emplace_back(preset.name, load_preset(preset.name));
  std::string head = "| Key | Default |";
  std::string line = "|---|---|";
  for (const auto& [name, config] : all) {
    head += fmt::format(" `{}` |", name);
    line += "---|";
  }
  std::string rows;
  for (const Field& field : config_fields()) {
    const std::string plain = value_text(field, RuntimeConfig{});
    std::string row = fmt::format("| `{}` | `{}` |", field.path, plain);
    bool differs = false;
    for (const auto& [name, config] : all) {
      const std::string value = value_text(field, config.values);
      row += value == plain ? "  |" : fmt::format(" `{}` |", value);
      differs |= value != plain;
    }
    if (differs) rows += row + "\n";
  }
  return fmt::format(
      "\n## Presets\n\n`--preset NAME`; an empty cell keeps the default.\n\n{}\n{}\n{}", head, line,
      rows);
}

}  // namespace

std::string documented_markdown() {
  std::string out(kMarkdownHead);
  for (const Section& section : config_sections()) out += markdown_section(section);
  return out + markdown_presets();
}

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
