// HTTP requests and responses as plain values, so that handlers need no HTTP library.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "server/openai/api_error.h"

namespace krserve::server {

struct HttpRequest {
  std::string method;  // "GET"
  std::string path;    // without the query, not percent-decoded
  std::string authorization;
  std::string request_id;  // the client's if it is usable, else generated
  std::string body;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> headers;
};

HttpResponse error_response(const ApiError& error);

// "Not Found" for 404; "Unknown" for codes that this server never sends.
std::string_view reason_phrase(int status);

// The client's id when it is 1 to 128 characters of [A-Za-z0-9._:/+=-], else a random one.
std::string choose_request_id(std::string_view from_client);

// "a%2Fb" to "a/b"; malformed escapes stay as they are.
std::string percent_decode(std::string_view text);

}  // namespace krserve::server
