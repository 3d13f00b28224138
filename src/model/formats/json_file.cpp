#include "model/formats/json_file.h"

#include <cmath>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/units.h"
#include "model/formats/mapped_file.h"

namespace krserve {
namespace {

constexpr uint64_t kMaxFileBytes = 256 * kMiB;
constexpr int kMaxDepth = 64;
constexpr size_t kShownChars = 60;

std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > kShownChars) text = text.substr(0, kShownChars) + "...";
  return text;
}

}  // namespace

Json parse_json_object(std::string_view text, std::string_view where, const std::string& source) {
  std::set<std::string> keys;
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kMaxDepth) {
      throw_error<ModelError>(where, "{}: JSON nested deeper than {} levels; re-download the file",
                              source, kMaxDepth);
    }
    if (event == Json::parse_event_t::key && depth == 1 &&
        !keys.insert(parsed.get<std::string>()).second) {
      throw_error<ModelError>(where, "{}: key '{}' appears twice; re-download the file", source,
                              parsed.get<std::string>());
    }
    return true;
  };
  Json value;
  try {
    value = Json::parse(text, check);
  } catch (const Json::exception& e) {
    throw_error<ModelError>(where, "{}: not valid JSON: {}; re-download the file", source,
                            e.what());
  }
  if (!value.is_object()) {
    throw_error<ModelError>(where, "{}: a JSON {}; expected an object; re-download the file",
                            source, value.type_name());
  }
  return value;
}

Json read_json_file(const std::filesystem::path& path, std::string_view where) {
  const MappedFile file(path);
  if (file.size() == 0 || file.size() > kMaxFileBytes) {
    throw_error<ModelError>(where, "{}: {} bytes; expected 1 to {}; re-download the file",
                            path.string(), file.size(), kMaxFileBytes);
  }
  const std::string_view text(reinterpret_cast<const char*>(file.data()), file.size());
  return parse_json_object(text, where, path.string());
}

JsonFields::JsonFields(const Json& object, std::string source, std::string where,
                       std::string prefix)
    : object_(object),
      source_(std::move(source)),
      where_(std::move(where)),
      prefix_(std::move(prefix)) {}

bool JsonFields::has(const std::string& key) const {
  const auto it = object_.find(key);
  return it != object_.end() && !it->is_null();
}

void JsonFields::refuse(const std::string& key, std::string_view expected) const {
  const auto it = object_.find(key);
  const std::string value = it == object_.end() ? "missing" : "is " + shown(*it);
  throw_error<ModelError>(where_, "{}: {}{} {}; expected {}", source_, prefix_, key, value,
                          expected);
}

const Json& JsonFields::require(const std::string& key, std::string_view expected) const {
  if (!has(key)) refuse(key, expected);
  return *object_.find(key);
}

uint64_t JsonFields::integer(const std::string& key, uint64_t min, uint64_t max) const {
  const std::string expected = fmt::format("an integer from {} to {}", min, max);
  const Json& value = require(key, expected);
  if (!value.is_number_unsigned()) refuse(key, expected);
  const auto number = value.get<uint64_t>();
  if (number < min || number > max) refuse(key, expected);
  return number;
}

uint64_t JsonFields::integer_or(const std::string& key, uint64_t min, uint64_t max,
                                uint64_t fallback) const {
  return has(key) ? integer(key, min, max) : fallback;
}

double JsonFields::number(const std::string& key, double min, double max) const {
  const std::string expected = fmt::format("a number above {} and at most {}", min, max);
  const Json& value = require(key, expected);
  if (!value.is_number()) refuse(key, expected);
  const auto number = value.get<double>();
  if (!(number > min && number <= max)) refuse(key, expected);
  return number;
}

double JsonFields::number_or(const std::string& key, double min, double max,
                             double fallback) const {
  return has(key) ? number(key, min, max) : fallback;
}

bool JsonFields::boolean_or(const std::string& key, bool fallback) const {
  if (!has(key)) return fallback;
  const Json& value = *object_.find(key);
  if (!value.is_boolean()) refuse(key, "true or false");
  return value.get<bool>();
}

std::string JsonFields::text(const std::string& key) const {
  const Json& value = require(key, "a string");
  if (!value.is_string()) refuse(key, "a string");
  return value.get<std::string>();
}

std::string JsonFields::text_or(const std::string& key, const std::string& fallback) const {
  return has(key) ? text(key) : fallback;
}

JsonFields JsonFields::object(const std::string& key) const {
  const Json& value = require(key, "an object");
  if (!value.is_object()) refuse(key, "an object");
  return JsonFields(value, source_, where_, prefix_ + key + ".");
}

std::vector<uint64_t> JsonFields::integers_or_none(const std::string& key, uint64_t max) const {
  if (!has(key)) return {};
  const std::string expected = fmt::format("an integer, or a list of them, from 0 to {}", max);
  const Json& value = *object_.find(key);
  const Json list = value.is_array() ? value : Json::array({value});
  std::vector<uint64_t> result;
  for (const Json& item : list) {
    if (!item.is_number_unsigned() || item.get<uint64_t>() > max) refuse(key, expected);
    result.push_back(item.get<uint64_t>());
  }
  return result;
}

}  // namespace krserve
