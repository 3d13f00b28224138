#include "server/http/openai/json_body.h"

#include <algorithm>

#include "server/http/api_error.h"

namespace krserve::server {
namespace {

using Json = nlohmann::json;

ApiError bad_json(std::string text) {
  return ApiError(400, std::move(text), {}, "invalid_json");
}

// nlohmann counts the bytes read so far, so the offending byte is the one before.
std::string position(std::string_view body, size_t bytes_read) {
  const size_t offset = std::min(bytes_read > 0 ? bytes_read - 1 : 0, body.size());
  const std::string_view before = body.substr(0, offset);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t line_start =
      before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
  return fmt::format("line {} column {} (byte {})", line, offset - line_start + 1, offset);
}

// "[json.exception.parse_error.101] parse error at line 1, column 2: <this part>"
std::string reason(const Json::parse_error& error) {
  const std::string text = error.what();
  const size_t column = text.find("column ");
  const size_t colon = column == std::string::npos ? std::string::npos : text.find(": ", column);
  return colon == std::string::npos ? text : text.substr(colon + 2);
}

}  // namespace

Json parse_json_object(std::string_view body) {
  if (body.empty()) throw bad_json("The request body is empty; a JSON object is expected.");
  const auto refuse_depth = [](int depth, Json::parse_event_t event, const Json&) {
    const bool opens =
        event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
    if (opens && depth >= kMaxJsonDepth) {
      throw bad_json(fmt::format("The JSON body is nested deeper than {} levels.", kMaxJsonDepth));
    }
    return true;
  };
  Json value;
  try {
    value = Json::parse(body.begin(), body.end(), refuse_depth);
  } catch (const Json::parse_error& error) {
    throw bad_json(fmt::format("The request body is not valid JSON at {}: {}",
                               position(body, error.byte), reason(error)));
  } catch (const Json::exception& error) {
    throw bad_json(fmt::format("The request body is not valid JSON: {}", error.what()));
  }
  if (!value.is_object()) {
    throw bad_json(
        fmt::format("The request body must be a JSON object, not of type {}.", value.type_name()));
  }
  return value;
}

}  // namespace krserve::server
