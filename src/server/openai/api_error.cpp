#include "server/openai/api_error.h"

#include <nlohmann/json.hpp>

#include "base/log.h"

namespace krserve::server {

using Json = nlohmann::ordered_json;

ApiError::ApiError(int status, std::string message, std::string param, std::string code)
    : Error("server.request", message),
      status_(status),
      message_(std::move(message)),
      param_(std::move(param)),
      code_(std::move(code)) {}

const char* ApiError::type() const {
  switch (status_) {
    case 401:
      return "authentication_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    default:
      return status_ >= 500 ? "server_error" : "invalid_request_error";
  }
}

ApiError& ApiError::with_header(std::string name, std::string value) {
  headers_.emplace_back(std::move(name), std::move(value));
  return *this;
}

std::string ApiError::body() const {
  const auto text_or_null = [](const std::string& text) {
    return text.empty() ? Json(nullptr) : Json(text);
  };
  const Json error = {{"message", message_},
                      {"type", type()},
                      {"param", text_or_null(param_)},
                      {"code", text_or_null(code_)}};
  return Json{{"error", error}}.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string message_without_prefix(const Error& error) {
  const std::string text = error.what();
  const std::string prefix = "[" + error.where() + "] ";
  return text.starts_with(prefix) ? text.substr(prefix.size()) : text;
}

ApiError current_exception_as_api_error(bool draining) {
  try {
    throw;
  } catch (const ApiError& error) {
    return error;
  } catch (const RequestError& error) {
    return ApiError(400, message_without_prefix(error));
  } catch (const OverloadError& error) {
    const int status = draining ? 503 : 429;
    return ApiError(status, message_without_prefix(error), {},
                    draining ? "server_draining" : "queue_full")
        .with_header("Retry-After", draining ? "5" : "1");
  } catch (const OutOfMemoryError& error) {
    return ApiError(503, message_without_prefix(error), {}, "out_of_memory")
        .with_header("Retry-After", "1");
  } catch (const std::exception& error) {
    log_at(LogLevel::kError, "[server.request] answered with 500: {}", error.what());
    return ApiError(500, std::string("internal error: ") + error.what(), {}, "internal_error");
  } catch (...) {
    return ApiError(500, "internal error of unknown kind", {}, "internal_error");
  }
}

}  // namespace krserve::server
