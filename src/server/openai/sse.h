// Server-sent events: how one event, the end marker and a keep-alive look on the wire.
#pragma once

#include <string>
#include <string_view>

namespace krserve::server {

inline constexpr std::string_view kSseDone = "data: [DONE]\n\n";
// A comment; clients skip it.
inline constexpr std::string_view kSseKeepAlive = ": keep-alive\n\n";

// `json` has no line ends.
inline std::string sse_event(std::string_view json) {
  return std::string("data: ").append(json).append("\n\n");
}

}  // namespace krserve::server
