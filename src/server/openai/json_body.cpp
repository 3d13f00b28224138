#include "server/openai/json_body.h"

#include <algorithm>

namespace krserve::server {
namespace {

using Json = nlohmann::json;

constexpr const char* kCode = "invalid_json";

ApiError bad_json(std::string text) {
  return ApiError(400, std::move(text), {}, kCode);
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

JsonSyntaxError::JsonSyntaxError(std::string message)
    : ApiError(400, std::move(message), {}, kCode) {}

Json parse_json(std::string_view text, std::string_view what) {
  const auto refuse_depth = [&](int depth, Json::parse_event_t event, const Json&) {
    const bool opens =
        event == Json::parse_event_t::object_start || event == Json::parse_event_t::array_start;
    if (opens && depth >= kMaxJsonDepth) {
      throw bad_json(fmt::format("{} is nested deeper than {} levels.", what, kMaxJsonDepth));
    }
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), refuse_depth);
  } catch (const Json::parse_error& error) {
    throw JsonSyntaxError(fmt::format("{} is not valid JSON at {}: {}", what,
                                      position(text, error.byte), reason(error)));
  } catch (const Json::exception& error) {
    throw JsonSyntaxError(fmt::format("{} is not valid JSON: {}", what, error.what()));
  }
}

Json parse_json_object(std::string_view body) {
  if (body.empty()) throw bad_json("The request body is empty; a JSON object is expected.");
  Json value = parse_json(body, "The request body");
  if (!value.is_object()) {
    throw bad_json(
        fmt::format("The request body must be a JSON object, not of type {}.", value.type_name()));
  }
  return value;
}

}  // namespace krserve::server
