#include "server/http/http_server.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <future>
#include <thread>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "server/http/connection.h"
#include "server/http/hub.h"

namespace krserve::server {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr int kIoThreads = 2;
constexpr auto kAcceptRetry = std::chrono::milliseconds(100);
constexpr auto kStopPatience = std::chrono::seconds(5);

// Accepts connections on one address until closed. Lives on a strand of its own.
class Listener : public std::enable_shared_from_this<Listener> {
 public:
  Listener(asio::io_context& io, Hub& hub)
      : io_(io), hub_(hub), acceptor_(asio::make_strand(io)), retry_(acceptor_.get_executor()) {}

  uint16_t open() {
    const std::string& host = hub_.config.host;
    try {
      tcp::resolver resolver(io_);
      const auto found =
          resolver.resolve(host, std::to_string(hub_.config.port), tcp::resolver::passive);
      const tcp::endpoint endpoint = found.begin()->endpoint();
      acceptor_.open(endpoint.protocol());
      acceptor_.set_option(tcp::acceptor::reuse_address(true));
      acceptor_.bind(endpoint);
      acceptor_.listen(asio::socket_base::max_listen_connections);
      return acceptor_.local_endpoint().port();
    } catch (const boost::system::system_error& error) {
      throw_error<Error>("server.listen",
                         "{}:{} cannot be bound: {}; choose another server.host or server.port",
                         host, hub_.config.port, error.code().message());
    }
  }

  void accept() {
    acceptor_.async_accept(
        asio::make_strand(io_),
        [self = shared_from_this()](const boost::system::error_code& error, tcp::socket socket) {
          if (!self->acceptor_.is_open()) return;
          if (error) return self->retry_later(error);
          self->welcome(std::move(socket));
          self->accept();
        });
  }

  // Returns when no connection can be accepted any more.
  void close() {
    auto closed = std::make_shared<std::promise<void>>();
    asio::post(acceptor_.get_executor(), [self = shared_from_this(), closed] {
      boost::system::error_code ignored;
      self->acceptor_.close(ignored);
      self->retry_.cancel();
      closed->set_value();
    });
    closed->get_future().wait();
  }

 private:
  // Out of file descriptors, for example: trying again at once would spin.
  void retry_later(const boost::system::error_code& error) {
    log_at(LogLevel::kWarn, "[server.accept] {}", error.message());
    retry_.expires_after(kAcceptRetry);
    retry_.async_wait([self = shared_from_this()](const boost::system::error_code& cancelled) {
      if (!cancelled && self->acceptor_.is_open()) self->accept();
    });
  }

  void welcome(tcp::socket socket) {
    boost::system::error_code ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    const auto limit = static_cast<size_t>(hub_.config.max_connections);
    auto connection = std::make_shared<Connection>(std::move(socket), hub_);
    if (hub_.connections() >= limit) {
      hub_.metrics.connection_refused();
      return connection->start_refused();
    }
    hub_.add(connection);
    connection->start();
  }

  asio::io_context& io_;
  Hub& hub_;
  tcp::acceptor acceptor_;
  asio::steady_timer retry_;
};

}  // namespace

class HttpServer::Impl {
 public:
  Impl(const ServerConfig& config, EngineSource engine, const HttpLimits& limits)
      : hub_(config, std::move(engine), limits),
        io_(std::make_unique<asio::io_context>(kIoThreads)) {}

  uint16_t start() {
    listener_ = std::make_shared<Listener>(*io_, hub_);
    const uint16_t port = listener_->open();
    listener_->accept();
    work_.emplace(asio::make_work_guard(*io_));
    for (int i = 0; i < kIoThreads; ++i) {
      threads_.emplace_back([this] { io_->run(); });
    }
    return port;
  }

  bool drain() {
    hub_.draining = true;
    {
      const std::lock_guard lock(stop_mutex_);
      if (threads_.empty()) return true;
      listener_->close();
    }
    for (const auto& connection : hub_.snapshot()) connection->begin_drain();
    const auto limit = std::chrono::seconds(hub_.config.drain_timeout_s);
    return hub_.wait_until_idle(std::chrono::steady_clock::now() + limit, stopping_);
  }

  void stop() {
    stopping_ = true;
    hub_.draining = true;
    hub_.notify();
    const std::lock_guard lock(stop_mutex_);
    if (threads_.empty()) return;
    listener_->close();
    for (const auto& connection : hub_.snapshot()) connection->abort();
    // Work in progress there finds its connection closed.
    hub_.workers.join();
    if (!hub_.wait_until_empty(std::chrono::steady_clock::now() + kStopPatience)) {
      log_at(LogLevel::kWarn, "[server.stop] {} connections did not close", hub_.connections());
    }
    work_.reset();
    io_->stop();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    listener_.reset();
    // Handlers that never ran hold connections, and those the engine.
    io_.reset();
  }

 private:
  Hub hub_;
  std::unique_ptr<asio::io_context> io_;
  std::shared_ptr<Listener> listener_;
  std::optional<asio::executor_work_guard<asio::io_context::executor_type>> work_;
  std::vector<std::thread> threads_;
  std::mutex stop_mutex_;
  std::atomic<bool> stopping_{false};
};

HttpServer::HttpServer(const ServerConfig& config, EngineSource engine, const HttpLimits& limits)
    : impl_(std::make_unique<Impl>(config, std::move(engine), limits)) {}

HttpServer::~HttpServer() {
  stop();
}

uint16_t HttpServer::start() {
  return impl_->start();
}
bool HttpServer::drain() {
  return impl_->drain();
}
void HttpServer::stop() {
  impl_->stop();
}

}  // namespace krserve::server
