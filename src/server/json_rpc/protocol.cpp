#include "server/json_rpc/protocol.h"

#include <fmt/format.h>

#include <utility>

#include "server/openai/json_body.h"

namespace krserve::server::rpc {
namespace {

std::string dump(const OrderedJson& value) {
  return value.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

RpcError invalid_request(std::string message) {
  return {ErrorCode::kInvalidRequest, std::move(message)};
}

bool usable_id(const Json& id) {
  if (id.is_string()) return id.get_ref<const std::string&>().size() <= kMaxIdBytes;
  return id.is_number_integer() || id.is_null();
}

// The id to answer under; null when there is none that could be used.
Json answer_id(const Json& value) {
  if (!value.is_object() || !value.contains("id")) return nullptr;
  const Json& id = value.at("id");
  return usable_id(id) ? id : Json(nullptr);
}

// Throws RpcError.
Request parse_request(Json& value) {
  if (!value.is_object()) {
    throw invalid_request(fmt::format("a request is an object, not of type {}", value.type_name()));
  }
  const auto version = value.find("jsonrpc");
  if (version == value.end() || *version != "2.0") {
    throw invalid_request(R"(a request has "jsonrpc": "2.0")");
  }
  const auto method = value.find("method");
  if (method == value.end() || !method->is_string()) {
    throw invalid_request("a request has a method, which is a string");
  }
  Request request;
  if (const auto id = value.find("id"); id != value.end()) {
    if (!usable_id(*id)) {
      throw invalid_request(
          fmt::format("an id is an integer, null or a string of at most {} bytes", kMaxIdBytes));
    }
    request.id = std::move(*id);
  }
  request.method = method->get<std::string>();
  request.params = Json::object();
  const auto params = value.find("params");
  if (params == value.end()) return request;
  if (params->is_array()) {
    // A notification's is not answered, whatever is wrong with it.
    request.params = std::move(*params);
    return request;
  }
  if (!params->is_object()) {
    throw invalid_request(fmt::format("params is an object, not of type {}", params->type_name()));
  }
  request.params = std::move(*params);
  return request;
}

Entry parse_entry(Json& value) {
  Json id = answer_id(value);
  try {
    return parse_request(value);
  } catch (const RpcError& error) {
    return Refusal{std::move(id), error};
  }
}

Json parse_value(std::string_view text) {
  try {
    return parse_json(text, "The frame");
  } catch (const JsonSyntaxError& error) {
    throw RpcError(ErrorCode::kParse, error.message());
  } catch (const ApiError& error) {  // too deep
    throw invalid_request(error.message());
  }
}

}  // namespace

Frame parse_frame(std::string_view text) {
  Json value = parse_value(text);
  Frame frame;
  frame.batch = value.is_array();
  if (!frame.batch) {
    frame.entries.push_back(parse_entry(value));
    return frame;
  }
  if (value.empty()) throw invalid_request("a batch has at least one request");
  if (value.size() > kMaxBatch) {
    throw invalid_request(fmt::format("a batch of {} requests; at most {} may come in one frame",
                                      value.size(), kMaxBatch));
  }
  frame.entries.reserve(value.size());
  for (Json& member : value) frame.entries.push_back(parse_entry(member));
  return frame;
}

std::string result_text(const Json& id, const OrderedJson& result) {
  return fmt::format(R"({{"jsonrpc":"2.0","id":{},"result":{}}})", dump(id), dump(result));
}

std::string error_text(const Json& id, const RpcError& error) {
  return fmt::format(R"({{"jsonrpc":"2.0","id":{},"error":{}}})", dump(id), dump(error.object()));
}

std::string notification_text(std::string_view method, const OrderedJson& params) {
  return fmt::format(R"({{"jsonrpc":"2.0","method":"{}","params":{}}})", method, dump(params));
}

}  // namespace krserve::server::rpc
