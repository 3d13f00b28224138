#include "cli/status_client.h"

#include <fmt/format.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <nlohmann/json.hpp>
#include <regex>

#include "base/error.h"

namespace krserve::cli {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using Json = nlohmann::json;
using boost::system::error_code;

constexpr auto kLook = std::chrono::milliseconds(50);

struct Address {
  std::string host;
  std::string port;
};

Address address_of(const std::string& url) {
  static const std::regex form(R"(http://(\[[0-9a-fA-F:]+\]|[^/:]+)(?::([0-9]+))?/?)");
  std::smatch match;
  if (!std::regex_match(url, match, form)) {
    throw_error<UsageError>("status.get", "'{}' is not of the form http://host:port", url);
  }
  std::string host = match[1].str();
  if (host.front() == '[') host = host.substr(1, host.size() - 2);
  return {host, match[2].matched ? match[2].str() : "80"};
}

// One request, step by step on an io_context that the caller runs.
class Exchange {
 public:
  Exchange(asio::io_context& io, const Address& address, const std::string& api_key,
           std::chrono::milliseconds limit)
      : resolver_(io), stream_(io), request_(http::verb::get, "/status", 11) {
    request_.set(http::field::host, address.host);
    request_.set(http::field::connection, "close");
    if (!api_key.empty()) request_.set(http::field::authorization, "Bearer " + api_key);
    stream_.expires_after(limit);
    resolver_.async_resolve(address.host, address.port,
                            [this](error_code error, const auto& found) {
                              if (!ended(error)) connect(found);
                            });
  }

  bool done() const { return done_; }
  // Throws boost::system::system_error if it failed.
  const http::response<http::string_body>& response() const {
    if (error_) throw boost::system::system_error(error_);
    return response_;
  }

 private:
  bool ended(error_code error) {
    if (error) finish(error);
    return error.failed();
  }
  void finish(error_code error) {
    error_ = error;
    done_ = true;
  }
  void connect(const asio::ip::tcp::resolver::results_type& found) {
    stream_.async_connect(found, [this](error_code error, const auto&) {
      if (!ended(error)) write();
    });
  }
  void write() {
    http::async_write(stream_, request_, [this](error_code error, size_t) {
      if (!ended(error)) read();
    });
  }
  void read() {
    http::async_read(stream_, buffer_, response_,
                     [this](error_code error, size_t) { finish(error); });
  }

  asio::ip::tcp::resolver resolver_;
  beast::tcp_stream stream_;
  http::request<http::empty_body> request_;
  http::response<http::string_body> response_;
  beast::flat_buffer buffer_;
  error_code error_;
  bool done_ = false;
};

// {"error": {"message": ...}} of an API error, else the text itself.
std::string message_of(const std::string& body) {
  const Json json = Json::parse(body, nullptr, false);
  const auto pointer = Json::json_pointer("/error/message");
  if (json.is_object() && json.contains(pointer) && json[pointer].is_string()) return json[pointer];
  return body.substr(0, 200);
}

}  // namespace

Json fetch_status(const std::string& url, const std::string& api_key,
                  std::chrono::milliseconds limit, const std::function<bool()>& go_on) {
  const Address address = address_of(url);
  asio::io_context io;
  Exchange exchange(io, address, api_key, limit);
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!exchange.done() && std::chrono::steady_clock::now() < end) {
    io.run_for(kLook);
    if (go_on && !go_on()) throw StatusAbandoned();
  }
  try {
    if (!exchange.done()) throw boost::system::system_error(beast::error::timeout);
    const auto& response = exchange.response();
    if (response.result() != http::status::ok) {
      throw_error<Error>("status.get", "{} answered {}: {}", url, response.result_int(),
                         message_of(response.body()));
    }
    return Json::parse(response.body());
  } catch (const boost::system::system_error& error) {
    throw_error<Error>("status.get", "no answer from {}: {}; is the server running there?", url,
                       error.code().message());
  } catch (const Json::exception&) {
    throw_error<Error>("status.get", "{} answered no JSON: not a krserve server?", url);
  }
}

}  // namespace krserve::cli
