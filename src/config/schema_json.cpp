#include "config/schema_json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "config/schema.h"
#include "config/value.h"

namespace krserve {
namespace {

using Json = nlohmann::ordered_json;

void add_numbers(const Field& field, Json& out) {
  if (field.choices.empty()) {
    out["min"] = field.min;
    out["max"] = field.max;
    return;
  }
  for (const std::string_view choice : field.choices) {
    out["choices"].push_back(std::stoll(std::string(choice)));
  }
}

void add_text(const Field& field, Json& out) {
  if (field.choices.empty()) {
    out["max_bytes"] = kMaxTextBytes;
    out["single_line"] = true;
  } else {
    out["choices"] = field.choices;
  }
}

Json field_json(const Field& field) {
  RuntimeConfig defaults;
  Json out = {{"path", field.path}};
  const auto typed = [&](const char* type, const auto& value) {
    out["type"] = type;
    out["default"] = value;
  };
  if (const auto* flag = std::get_if<BoolRef>(&field.ref)) {
    typed("boolean", (*flag)(defaults));
  } else if (const auto* number = std::get_if<IntRef>(&field.ref)) {
    typed("integer", (*number)(defaults));
    add_numbers(field, out);
  } else if (const auto* text = std::get_if<TextRef>(&field.ref)) {
    typed("string", (*text)(defaults));
    add_text(field, out);
  } else {
    typed("integer_list", std::get<ListRef>(field.ref)(defaults));
    add_numbers(field, out);
    out["max_items"] = kMaxListItems;
  }
  if (!field.low_message.empty()) out["low_message"] = field.low_message;
  if (field.secret) out["secret"] = true;
  out["environment"] = environment_name(field.path);
  out["doc"] = field.doc;
  return out;
}

Json section_json(const Section& section) {
  return {{"path", section.path}, {"doc", section.doc}};
}

// One entry a line: a change of a setting is one line of a diff.
template <class Entries, class ToJson>
std::string array_lines(const Entries& entries, const ToJson& to_json) {
  std::string out;
  for (const auto& entry : entries) {
    out += fmt::format("{}\n    {}", out.empty() ? "" : ",", to_json(entry).dump());
  }
  return out;
}

}  // namespace

std::string schema_json() {
  return fmt::format("{{\n  \"sections\": [{}\n  ],\n  \"fields\": [{}\n  ]\n}}\n",
                     array_lines(config_sections(), section_json),
                     array_lines(config_fields(), field_json));
}

}  // namespace krserve
