// JSON-RPC 2.0 as values: frames to requests, results and errors to text.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/json_rpc/rpc_error.h"

namespace krserve::server::rpc {

// Most requests of one batch.
inline constexpr size_t kMaxBatch = 1000;
// Longest text id; each notification of its request repeats it.
inline constexpr size_t kMaxIdBytes = 256;

struct Request {
  std::string method;
  Json params;             // an object; empty when none were sent
  std::optional<Json> id;  // a string, an integer or null; none: a notification
};

// What is no request, and the id to say so under (null when it has no usable one).
struct Refusal {
  Json id;
  RpcError error;
};

using Entry = std::variant<Request, Refusal>;

struct Frame {
  bool batch = false;
  std::vector<Entry> entries;  // one unless it is a batch
};

// Throws RpcError for a frame that has no request to answer: kParse (syntax, UTF-8),
// kInvalidRequest (too deep, an empty or too long batch).
Frame parse_frame(std::string_view text);

// One line each, without the line break; ill-formed UTF-8 in strings becomes U+FFFD.
std::string result_text(const Json& id, const OrderedJson& result);
std::string error_text(const Json& id, const RpcError& error);
std::string notification_text(std::string_view method, const OrderedJson& params);

}  // namespace krserve::server::rpc
