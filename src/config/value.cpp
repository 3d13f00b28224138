#include "config/value.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "base/log.h"

namespace krserve {
namespace {

constexpr size_t kShownBytes = 60;

std::optional<int64_t> parse_int(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  int64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<bool> parse_bool(std::string_view text) {
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  return std::nullopt;
}

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

// What a message shows of a value: one short line.
std::string shown(const std::string& text, bool quoted) {
  std::string cut = text.substr(0, kShownBytes);
  std::ranges::replace_if(cut, is_control, ' ');
  if (text.size() > kShownBytes) cut += "...";
  const bool bare = !quoted && (parse_int(text) || parse_bool(text));
  return bare ? cut : fmt::format("\"{}\"", cut);
}

std::string shown(const Field& field, const RawValue& raw) {
  if (field.secret) return "(hidden)";
  switch (raw.shape) {
    case RawValue::Shape::kNull:
      return "nothing";
    case RawValue::Shape::kSection:
      return "a section";
    case RawValue::Shape::kScalar:
      return shown(raw.items.at(0), raw.quoted);
    case RawValue::Shape::kList:
      break;
  }
  return raw.items.size() <= 4 ? fmt::format("[{}]", fmt::join(raw.items, ", ")).substr(0, 80)
                               : fmt::format("a list of {}", raw.items.size());
}

std::string complaint(const Field& field, const RawValue& raw, std::string_view before = {}) {
  return fmt::format("{}: {}expected {}", shown(field, raw), before, expected_value(field));
}

std::optional<std::string> assign_int(const Field& field, int64_t& target, const RawValue& raw) {
  const auto value = parse_int(raw.items[0]);
  if (!value || raw.quoted) return complaint(field, raw);
  if (!field.choices.empty()) {
    const std::string plain = std::to_string(*value);
    if (std::ranges::find(field.choices, plain) == field.choices.end()) {
      return complaint(field, raw);
    }
  }
  if (*value < field.min && !field.low_message.empty()) {
    // The words that the seed document tells people to look for, at the start of an error line.
    log().error("{}: {} = {}; use {}..{} [config.load]", field.low_message, field.path, *value,
                field.min, field.max);
    return complaint(field, raw, fmt::format("{}; ", field.low_message));
  }
  if (*value < field.min || *value > field.max) return complaint(field, raw);
  target = *value;
  return std::nullopt;
}

std::optional<std::string> assign_text(const Field& field, std::string& target,
                                       const RawValue& raw) {
  const std::string& value = raw.items[0];
  if (!field.choices.empty()) {
    if (std::ranges::find(field.choices, value) == field.choices.end()) {
      return complaint(field, raw);
    }
  } else if (value.size() > kMaxTextBytes) {
    return complaint(field, raw,
                     fmt::format("{} bytes, at most {}; ", value.size(), kMaxTextBytes));
  } else if (std::ranges::any_of(value, is_control)) {
    return complaint(field, raw, "has a line break or a control character; ");
  }
  target = value;
  return std::nullopt;
}

std::optional<std::string> assign_list(const Field& field, std::vector<int64_t>& target,
                                       const RawValue& raw) {
  if (raw.items.size() > kMaxListItems) {
    return complaint(field, raw, fmt::format("at most {} items; ", kMaxListItems));
  }
  std::vector<int64_t> values;
  for (const std::string& item : raw.items) {
    const auto value = parse_int(item);
    if (!value || raw.quoted || *value < field.min || *value > field.max) {
      return complaint(field, raw,
                       fmt::format("item {} is {}; ", values.size() + 1, shown(item, raw.quoted)));
    }
    values.push_back(*value);
  }
  target = std::move(values);
  return std::nullopt;
}

// The accessors want a mutable object; reading through them changes nothing.
RuntimeConfig& readable(const RuntimeConfig& config) {
  return const_cast<RuntimeConfig&>(config);
}

// YAML's single quotes: the only escape is a doubled quote.
std::string quoted_text(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("''") : std::string(1, c);
  return out + "'";
}

}  // namespace

RawValue raw_from_text(const Field& field, std::string_view text) {
  RawValue raw;
  if (!std::holds_alternative<ListRef>(field.ref)) {
    raw.items.emplace_back(text);
    return raw;
  }
  raw.shape = RawValue::Shape::kList;
  if (text.size() >= 2 && text.front() == '[' && text.back() == ']') {
    text = text.substr(1, text.size() - 2);
  }
  const auto trimmed = [](std::string_view part) {
    const auto first = part.find_first_not_of(' ');
    if (first == std::string_view::npos) return std::string();
    return std::string(part.substr(first, part.find_last_not_of(' ') - first + 1));
  };
  if (trimmed(text).empty()) return raw;
  for (size_t start = 0; start <= text.size();) {
    const size_t comma = std::min(text.find(',', start), text.size());
    raw.items.push_back(trimmed(text.substr(start, comma - start)));
    start = comma + 1;
  }
  return raw;
}

std::optional<std::string> assign(const Field& field, RuntimeConfig& config, const RawValue& raw) {
  const bool wants_list = std::holds_alternative<ListRef>(field.ref);
  const auto wanted = wants_list ? RawValue::Shape::kList : RawValue::Shape::kScalar;
  if (raw.shape != wanted) return complaint(field, raw);
  if (const auto* ref = std::get_if<BoolRef>(&field.ref)) {
    const auto value = parse_bool(raw.items[0]);
    if (!value || raw.quoted) return complaint(field, raw);
    (*ref)(config) = *value;
    return std::nullopt;
  }
  if (const auto* ref = std::get_if<IntRef>(&field.ref)) {
    return assign_int(field, (*ref)(config), raw);
  }
  if (const auto* ref = std::get_if<TextRef>(&field.ref)) {
    return assign_text(field, (*ref)(config), raw);
  }
  return assign_list(field, std::get<ListRef>(field.ref)(config), raw);
}

std::string value_text(const Field& field, const RuntimeConfig& config) {
  RuntimeConfig& from = readable(config);
  if (const auto* ref = std::get_if<BoolRef>(&field.ref)) return (*ref)(from) ? "true" : "false";
  if (const auto* ref = std::get_if<IntRef>(&field.ref)) return std::to_string((*ref)(from));
  if (const auto* ref = std::get_if<TextRef>(&field.ref)) return quoted_text((*ref)(from));
  return fmt::format("[{}]", fmt::join(std::get<ListRef>(field.ref)(from), ", "));
}

}  // namespace krserve
