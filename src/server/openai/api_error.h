// A refusal as an API client sees it: HTTP status plus OpenAI's error object.
#pragma once

#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"

namespace krserve::server {

class ApiError : public Error {
 public:
  // `param` and `code` may be empty; they are null in the body then.
  ApiError(int status, std::string message, std::string param = {}, std::string code = {});

  int status() const { return status_; }
  const std::string& message() const { return message_; }
  const std::string& param() const { return param_; }
  const std::string& code() const { return code_; }
  // OpenAI's "type", by status: "invalid_request_error", "server_error", ...
  const char* type() const;

  ApiError& with_header(std::string name, std::string value);

  // {"error":{"message","type","param","code"}}
  std::string body() const;
  const std::vector<std::pair<std::string, std::string>>& headers() const { return headers_; }

 private:
  int status_;
  std::string message_;
  std::string param_;
  std::string code_;
  std::vector<std::pair<std::string, std::string>> headers_;
};

// The exception being handled, as a refusal: RequestError is 400, OverloadError 429 (503 while
// `draining`), OutOfMemoryError 503, an ApiError itself, anything else 500. Call in a catch block.
ApiError current_exception_as_api_error(bool draining = false);

// The text of a krserve error without its "[component.operation] " prefix.
std::string message_without_prefix(const Error& error);

}  // namespace krserve::server
