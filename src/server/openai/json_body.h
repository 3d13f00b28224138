// Parses JSON from a client, refusing what is malformed with its position.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "server/openai/api_error.h"

namespace krserve::server {

// Deeper nesting is refused; later stages walk the values recursively.
inline constexpr int kMaxJsonDepth = 64;

// Not JSON, or not UTF-8.
class JsonSyntaxError : public ApiError {
 public:
  explicit JsonSyntaxError(std::string message);
};

// Throws JsonSyntaxError (with line and column) and ApiError 400 (too deep). `what` begins the
// message: "The request body".
nlohmann::json parse_json(std::string_view text, std::string_view what);

// Throws ApiError 400: empty body, syntax (line and column), invalid UTF-8, not an object, too
// deep.
nlohmann::json parse_json_object(std::string_view body);

}  // namespace krserve::server
