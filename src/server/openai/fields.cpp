#include "server/openai/fields.h"

#include <cmath>

namespace krserve::server {

using Json = nlohmann::json;

std::string shown(const Json& value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 57) + "...";
  return text;
}

ApiError wrong_type(const std::string& param, std::string_view expected, const Json& got) {
  return ApiError(400,
                  fmt::format("Invalid type for '{}': expected {}, but got {} instead.", param,
                              expected, got.type_name()),
                  param, "invalid_type");
}

ApiError invalid_value(const std::string& param, std::string_view why) {
  return ApiError(400, fmt::format("Invalid value for '{}': {}", param, why), param,
                  "invalid_value");
}

ApiError unsupported(const std::string& param, std::string_view why) {
  return ApiError(400, fmt::format("Unsupported parameter '{}': {}", param, why), param,
                  "unsupported_parameter");
}

Fields::Fields(const Json& object, std::string path) : object_(object), path_(std::move(path)) {}

std::string Fields::path_of(std::string_view name) const {
  return path_ + std::string(name);
}

const Json* Fields::get(std::string_view name) const {
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

const Json& Fields::require(std::string_view name) const {
  const Json* value = get(name);
  if (value == nullptr) {
    throw ApiError(400, fmt::format("Missing required parameter: '{}'.", path_of(name)),
                   path_of(name), "missing_required_parameter");
  }
  return *value;
}

std::optional<double> Fields::number(std::string_view name, const NumberRange& range) const {
  const Json* value = get(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) throw wrong_type(path_of(name), "a number", *value);
  const double given = value->get<double>();
  const bool above_low = range.low_open ? given > range.low : given >= range.low;
  const bool below_high = range.high_open ? given < range.high : given <= range.high;
  if (!std::isfinite(given) || !above_low || !below_high) {
    throw invalid_value(path_of(name), fmt::format("{} is outside {}{}, {}{}.", shown(*value),
                                                   range.low_open ? '(' : '[', range.low,
                                                   range.high, range.high_open ? ')' : ']'));
  }
  return given;
}

std::optional<int64_t> Fields::integer(std::string_view name, int64_t low, int64_t high) const {
  const Json* value = get(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number_integer()) throw wrong_type(path_of(name), "an integer", *value);
  const bool huge = value->is_number_unsigned() && value->get<uint64_t>() > INT64_MAX;
  const int64_t given = huge ? INT64_MAX : value->get<int64_t>();
  if (huge || given < low || given > high) {
    throw invalid_value(path_of(name),
                        fmt::format("{} is outside [{}, {}].", shown(*value), low, high));
  }
  return given;
}

std::optional<bool> Fields::boolean(std::string_view name) const {
  const Json* value = get(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) throw wrong_type(path_of(name), "a boolean", *value);
  return value->get<bool>();
}

std::optional<std::string> Fields::string(std::string_view name) const {
  const Json* value = get(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) throw wrong_type(path_of(name), "a string", *value);
  return value->get<std::string>();
}

const Json* Fields::object(std::string_view name) const {
  const Json* value = get(name);
  if (value != nullptr && !value->is_object()) {
    throw wrong_type(path_of(name), "an object", *value);
  }
  return value;
}

const Json* Fields::array(std::string_view name) const {
  const Json* value = get(name);
  if (value != nullptr && !value->is_array()) throw wrong_type(path_of(name), "an array", *value);
  return value;
}

}  // namespace krserve::server
