// JSON-RPC's error objects: their codes, a word for each, and exceptions turned into them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "base/error.h"

namespace krserve::server::rpc {

// What clients send is read as Json; what we send keeps its order.
using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

// The first five are the specification's (https://www.jsonrpc.org/specification).
enum class ErrorCode : int {
  kParse = -32700,
  kInvalidRequest = -32600,
  kMethodNotFound = -32601,
  kInvalidParams = -32602,
  kInternal = -32603,
  kModelNotLoaded = -32001,
  kModelLoad = -32002,
  kOutOfMemory = -32003,
  kOverloaded = -32004,
  kDevice = -32005,
  kRequestFailed = -32006,
  kConfig = -32007,
};

// "model_not_loaded", "out_of_memory", ...: data.kind of the error object.
std::string_view kind_of(ErrorCode code);

class RpcError : public Error {
 public:
  // `data`: an object of what data has besides kind.
  RpcError(ErrorCode code, std::string message, OrderedJson data = OrderedJson::object());

  ErrorCode code() const { return code_; }
  const std::string& message() const { return message_; }
  const OrderedJson& data() const { return data_; }
  // {"code", "message", "data": {"kind", ...}}
  OrderedJson object() const;

 private:
  ErrorCode code_;
  std::string message_;
  OrderedJson data_;
};

// -32602 with data.param.
RpcError invalid_param(const std::string& param, std::string message);

// The exception being handled; call in a catch block. What has no code of its own is kInternal and
// logged.
RpcError current_exception_as_rpc_error();

}  // namespace krserve::server::rpc
