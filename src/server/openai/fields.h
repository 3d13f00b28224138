// Typed, range-checked access to the members of a JSON request object.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "server/openai/api_error.h"

namespace krserve::server {

// Inclusive bounds unless `low_open` says otherwise.
struct NumberRange {
  double low;
  double high;
  bool low_open = false;
  bool high_open = false;
};

// A member that is missing or null is "not given". All methods throw ApiError 400 that names the
// member.
class Fields {
 public:
  // `path` prefixes names in messages: "messages[0]." for example. Keeps a reference to `object`.
  explicit Fields(const nlohmann::json& object, std::string path = {});

  // nullptr when not given.
  const nlohmann::json* get(std::string_view name) const;
  const nlohmann::json& require(std::string_view name) const;

  std::optional<double> number(std::string_view name, const NumberRange& range) const;
  std::optional<int64_t> integer(std::string_view name, int64_t low, int64_t high) const;
  std::optional<bool> boolean(std::string_view name) const;
  std::optional<std::string> string(std::string_view name) const;
  const nlohmann::json* object(std::string_view name) const;
  const nlohmann::json* array(std::string_view name) const;

  std::string path_of(std::string_view name) const;

 private:
  const nlohmann::json& object_;
  std::string path_;
};

// A short rendering of a value for a message.
std::string shown(const nlohmann::json& value);

ApiError wrong_type(const std::string& param, std::string_view expected, const nlohmann::json& got);
ApiError invalid_value(const std::string& param, std::string_view why);
ApiError unsupported(const std::string& param, std::string_view why);

}  // namespace krserve::server
