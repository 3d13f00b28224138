// Parses a request body as a JSON object, refusing what is malformed with its position.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace krserve::server {

// Deeper nesting is refused; later stages walk the values recursively.
inline constexpr int kMaxJsonDepth = 64;

// Throws ApiError 400: empty body, syntax (line and column), invalid UTF-8, not an object, too
// deep.
nlohmann::json parse_json_object(std::string_view body);

}  // namespace krserve::server
