#include "server/json_rpc/rpc_error.h"

#include <utility>

#include "base/log.h"
#include "server/openai/api_error.h"

namespace krserve::server::rpc {
namespace {

// The HTTP API's refusals, which share the checks of requests.
RpcError from_api_error(const ApiError& error) {
  if (error.status() >= 500) return {ErrorCode::kInternal, error.message()};
  OrderedJson data = OrderedJson::object();
  if (!error.param().empty()) data["param"] = error.param();
  if (!error.code().empty()) data["reason"] = error.code();
  return {ErrorCode::kInvalidParams, error.message(), std::move(data)};
}

}  // namespace

std::string_view kind_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kParse:
      return "parse_error";
    case ErrorCode::kInvalidRequest:
      return "invalid_request";
    case ErrorCode::kMethodNotFound:
      return "method_not_found";
    case ErrorCode::kInvalidParams:
      return "invalid_params";
    case ErrorCode::kInternal:
      return "internal_error";
    case ErrorCode::kModelNotLoaded:
      return "model_not_loaded";
    case ErrorCode::kModelLoad:
      return "model_load_failed";
    case ErrorCode::kOutOfMemory:
      return "out_of_memory";
    case ErrorCode::kOverloaded:
      return "overloaded";
    case ErrorCode::kDevice:
      return "device_error";
    case ErrorCode::kRequestFailed:
      return "request_failed";
    case ErrorCode::kConfig:
      return "config_refused";
  }
  return "internal_error";
}

RpcError::RpcError(ErrorCode code, std::string message, OrderedJson data)
    : Error("json_rpc.request", message),
      code_(code),
      message_(std::move(message)),
      data_(std::move(data)) {}

OrderedJson RpcError::object() const {
  OrderedJson data = {{"kind", kind_of(code_)}};
  data.update(data_);
  return {{"code", static_cast<int>(code_)}, {"message", message_}, {"data", std::move(data)}};
}

RpcError invalid_param(const std::string& param, std::string message) {
  return {ErrorCode::kInvalidParams, std::move(message), {{"param", param}}};
}

RpcError current_exception_as_rpc_error() {
  try {
    throw;
  } catch (const RpcError& error) {
    return error;
  } catch (const ApiError& error) {
    return from_api_error(error);
  } catch (const RequestError& error) {
    return {ErrorCode::kInvalidParams, error.what()};
  } catch (const ModelError& error) {
    return {ErrorCode::kModelLoad, error.what()};
  } catch (const OutOfMemoryError& error) {
    return {ErrorCode::kOutOfMemory, error.what()};
  } catch (const std::bad_alloc&) {
    return {ErrorCode::kOutOfMemory, "the process has no memory for this"};
  } catch (const OverloadError& error) {
    return {ErrorCode::kOverloaded, error.what()};
  } catch (const DeviceError& error) {
    return {ErrorCode::kDevice, error.what()};
  } catch (const TimeoutError& error) {
    return {ErrorCode::kRequestFailed, error.what()};
  } catch (const TextError& error) {
    return {ErrorCode::kRequestFailed, error.what()};
  } catch (const ConfigError& error) {
    return {ErrorCode::kConfig, error.what()};
  } catch (const std::exception& error) {
    log().error("[json_rpc.request] answered with -32603: {}", error.what());
    return {ErrorCode::kInternal, std::string("internal error: ") + error.what()};
  } catch (...) {
    return {ErrorCode::kInternal, "internal error of unknown kind"};
  }
}

}  // namespace krserve::server::rpc
