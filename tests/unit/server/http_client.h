// A blocking HTTP client on a raw socket, for tests that need to see and send every byte.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace krserve::test {

struct Answer {
  int status = 0;
  std::string head;
  std::string body;

  nlohmann::json json() const { return nlohmann::json::parse(body); }
  // "" when absent; `name` in the case the server writes.
  std::string header(const std::string& name) const {
    const size_t at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return {};
    const size_t begin = at + name.size() + 4;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }
};

class HttpClient {
 public:
  explicit HttpClient(uint16_t port, int receive_buffer_bytes = 0) {
    socket_ = ::socket(AF_INET, SOCK_STREAM, 0);
    if (receive_buffer_bytes > 0) {
      setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof(int));
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
  }
  ~HttpClient() { close(); }
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  bool connected() const { return connected_; }
  void close() {
    if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  }
  void close_sending_side() { ::shutdown(socket_, SHUT_WR); }

  // False if the server has closed.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(sent));
    }
    return true;
  }

  // Everything up to and with `end`; throws after 20 s or when the server closes before.
  std::string read_through(std::string_view end) {
    while (input_.find(end) == std::string::npos) {
      if (!receive()) throw std::runtime_error("closed before the expected bytes; got: " + input_);
    }
    return take(input_.find(end) + end.size());
  }
  std::string read_bytes(size_t count) {
    while (input_.size() < count) {
      if (!receive()) throw std::runtime_error("closed before all bytes; got: " + input_);
    }
    return take(count);
  }
  std::string read_to_end() {
    while (receive()) {
    }
    return take(input_.size());
  }

  // `with_body` false: the answer to HEAD.
  Answer read_answer(bool with_body = true) {
    Answer answer;
    answer.head = read_through("\r\n\r\n");
    answer.status = std::atoi(answer.head.substr(9, 3).c_str());
    if (answer.header("Transfer-Encoding") == "chunked") {
      while (true) {
        const size_t size = std::stoul(read_through("\r\n"), nullptr, 16);
        answer.body += read_bytes(size);
        read_bytes(2);
        if (size == 0) return answer;
      }
    }
    const std::string length = answer.header("Content-Length");
    if (with_body && !length.empty()) answer.body = read_bytes(std::stoul(length));
    return answer;
  }

  Answer request(const std::string& method, const std::string& path, const std::string& body = {},
                 const std::string& headers = {}) {
    send(message(method, path, body, headers));
    return read_answer(method != "HEAD");
  }
  static std::string message(const std::string& method, const std::string& path,
                             const std::string& body = {}, const std::string& headers = {}) {
    return method + " " + path + " HTTP/1.1\r\nHost: test\r\n" + headers +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  }

 private:
  bool receive() {
    pollfd poll_for{socket_, POLLIN, 0};
    if (::poll(&poll_for, 1, 20'000) <= 0) throw std::runtime_error("nothing came for 20 s");
    char buffer[4096];
    const ssize_t got = ::recv(socket_, buffer, sizeof(buffer), 0);
    if (got > 0) input_.append(buffer, static_cast<size_t>(got));
    return got > 0;
  }
  std::string take(size_t count) {
    std::string front = input_.substr(0, count);
    input_.erase(0, count);
    return front;
  }

  int socket_ = -1;
  bool connected_ = false;
  std::string input_;
};

}  // namespace krserve::test
