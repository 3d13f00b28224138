#include "server/http/connection.h"

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core/error.hpp>
#include <boost/beast/core/string.hpp>
#include <boost/beast/http/error.hpp>
#include <utility>

#include "base/log.h"
#include "server/http/handlers.h"

namespace krserve::server {

namespace asio = boost::asio;
namespace http = boost::beast::http;

Connection::Connection(Socket socket, Hub& hub)
    : socket_(std::move(socket)),
      executor_(socket_.get_executor()),
      hub_(hub),
      timer_(executor_),
      phase_began_(Clock::now()),
      request_began_(phase_began_),
      last_read_(phase_began_),
      last_queued_(phase_began_),
      last_written_(phase_began_) {}

Connection::~Connection() {
  hub_.remove(this);
}

void Connection::start() {
  asio::post(executor_, [self = shared_from_this()] {
    self->guarded([&] {
      self->begin_request();
      self->read();
    });
  });
}

void Connection::start_refused() {
  asio::post(executor_, [self = shared_from_this()] {
    self->guarded([&] {
      self->begin_request();
      self->read();
      const auto limit = self->hub_.config.max_connections;
      self->send_final(
          error_response(ApiError(503, fmt::format("All {} connections are in use.", limit), {},
                                  "too_many_connections")
                             .with_header("Retry-After", "1")));
    });
  });
}

void Connection::begin_drain() {
  asio::post(executor_, [self = shared_from_this()] {
    self->guarded([&] {
      if (!self->request_open_ && self->phase_ == Phase::kReading) self->close(0);
    });
  });
}

void Connection::abort() {
  asio::post(executor_, [self = shared_from_this()] { self->guarded([&] { self->close(503); }); });
}

void Connection::read() {
  socket_.async_read_some(asio::buffer(read_buffer_),
                          [self = shared_from_this()](const ErrorCode& error, size_t bytes) {
                            self->guarded([&] { self->on_read(error, bytes); });
                          });
}

void Connection::on_read(const ErrorCode& error, size_t bytes) {
  if (error) return on_peer_gone(error);
  last_read_ = Clock::now();
  if (phase_ == Phase::kReading) {
    if (!request_begun()) request_began_ = last_read_;
    input_.append(read_buffer_.data(), bytes);
    consume_input();
  } else if (phase_ != Phase::kLingering && !close_after_reply_) {
    if (input_.size() + bytes <= hub_.limits.pipelined_bytes) {
      input_.append(read_buffer_.data(), bytes);
    } else {
      // Too much ahead of its turn: this answer is the last one.
      close_after_reply_ = true;
      input_.clear();
    }
  }
  if (phase_ != Phase::kClosed) read();
}

void Connection::on_peer_gone(const ErrorCode& error) {
  peer_sends_no_more_ = true;
  // Its sending side alone may be closed: the answer that is on its way can still arrive.
  const bool half_closed = error == asio::error::eof && phase_ == Phase::kReplying;
  if (half_closed) {
    close_after_reply_ = true;
  } else {
    close(kStatusClientClosed);
  }
}

void Connection::begin_request() {
  parser_.emplace();
  parser_->header_limit(static_cast<uint32_t>(hub_.limits.header_bytes));
  parser_->body_limit(static_cast<uint64_t>(hub_.config.max_body_mb) * 1024 * 1024);
  request_ = {};
  route_ = {};
  stream_begun_ = false;
  status_ = 0;
  phase_ = Phase::kReading;
  phase_began_ = request_began_ = last_read_ = Clock::now();
}

void Connection::consume_input() {
  size_t used = 0;
  while (phase_ == Phase::kReading) {
    if (!request_open_) {
      // Empty lines before a request are allowed (RFC 9112, 2.2).
      while (!parser_->got_some() && used < input_.size() &&
             (input_[used] == '\r' || input_[used] == '\n')) {
        ++used;
      }
    }
    if (used == input_.size()) break;
    ErrorCode error;
    const size_t taken =
        parser_->put(asio::buffer(input_.data() + used, input_.size() - used), error);
    used += taken;
    const bool need_more = error == http::error::need_more;
    if (error && !need_more) {
      on_parse_error(error);
      break;
    }
    if (parser_->is_header_done() && !request_open_) on_header();
    if (phase_ != Phase::kReading) break;
    if (parser_->is_done()) {
      dispatch();
    } else if (need_more || taken == 0) {
      break;
    }
  }
  input_.erase(0, used);
}

bool Connection::request_begun() const {
  return request_open_ || !input_.empty() || parser_->got_some();
}

void Connection::on_parse_error(const ErrorCode& error) {
  if (error == http::error::body_limit) {
    if (!request_open_) open_request();
    const auto limit = hub_.config.max_body_mb;
    const auto text =
        fmt::format("The request body is larger than {} MiB (server.max_body_mb).", limit);
    return send_final(error_response(ApiError(413, text, {}, "request_too_large")));
  }
  if (!request_open_) open_unknown_request();
  if (error == http::error::header_limit) {
    const auto text =
        fmt::format("The request header is larger than {} bytes.", hub_.limits.header_bytes);
    return send_final(error_response(ApiError(431, text, {}, "header_too_large")));
  }
  send_final(error_response(
      ApiError(400, "Malformed HTTP request: " + error.message(), {}, "malformed_http")));
}

void Connection::open_request() {
  const auto& message = parser_->get();
  const auto text = [](boost::beast::string_view view) {
    return std::string(view.data(), view.size());
  };
  const std::string target = text(message.target());
  request_.method = text(message.method_string());
  request_.path = target.substr(0, target.find('?'));
  request_.authorization = text(message[http::field::authorization]);
  request_.request_id = choose_request_id(text(message["X-Request-Id"]));
  route_ = find_route(request_.method, request_.path);
  http10_ = message.version() < 11;
  client_keeps_alive_ = message.keep_alive();
  request_open_ = true;
  hub_.request_begun();
}

void Connection::open_unknown_request() {
  request_.method = request_.path = "?";
  request_.request_id = choose_request_id({});
  route_.metric_path = "other";
  request_open_ = true;
  hub_.request_begun();
}

void Connection::on_header() {
  open_request();
  if (auto answer = early_answer()) {
    return parser_->is_done() ? send(*answer) : send_final(*answer);
  }
  const auto expect = parser_->get()[http::field::expect];
  if (expect.empty()) {
    parser_->eager(true);
  } else if (boost::beast::iequals(expect, "100-continue")) {
    if (!http10_ && !parser_->is_done()) queue_write("HTTP/1.1 100 Continue\r\n\r\n");
    parser_->eager(true);
  } else {
    send_final(error_response(ApiError(417, "Only 'Expect: 100-continue' is known.")));
  }
}

// What can be said without the body.
std::optional<HttpResponse> Connection::early_answer() const {
  if (request_.method == "OPTIONS") {
    if (route_.endpoint == Endpoint::kNotFound && request_.path != "*") {
      return error_response(ApiError(404, fmt::format("There is no {} here.", request_.path)));
    }
    HttpResponse response;
    response.status = 204;
    response.headers.emplace_back(
        "Allow", request_.path == "*" ? "GET, HEAD, POST, OPTIONS" : std::string(route_.allowed));
    return response;
  }
  const bool open_to_all = route_.endpoint == Endpoint::kHealth;
  if (!open_to_all && !authorized(request_.authorization, hub_.config.api_key)) {
    return error_response(ApiError(401,
                                   "Missing or wrong API key; send 'Authorization: Bearer KEY'.",
                                   {}, "invalid_api_key")
                              .with_header("WWW-Authenticate", "Bearer"));
  }
  if (route_.endpoint == Endpoint::kNotFound) {
    return error_response(
        ApiError(404, fmt::format("There is no {} here.", request_.path), {}, "unknown_url"));
  }
  if (!route_.method_allowed) {
    return error_response(ApiError(405,
                                   fmt::format("{} does not take {}; use {}.", request_.path,
                                               request_.method, route_.allowed),
                                   {}, "method_not_allowed")
                              .with_header("Allow", std::string(route_.allowed)));
  }
  return std::nullopt;
}

void Connection::dispatch() {
  request_.body = std::move(parser_->get().body());
  try {
    switch (route_.endpoint) {
      case Endpoint::kChatCompletions:
        return begin_generation(ReplyKind::kChat);
      case Endpoint::kCompletions:
        return begin_generation(ReplyKind::kCompletion);
      default:
        return send(answer_at_once());
    }
  } catch (...) {
    send(error_response(current_exception_as_api_error(hub_.draining)));
  }
}

HttpResponse Connection::answer_at_once() const {
  const engine::Engine* engine = hub_.engine();
  switch (route_.endpoint) {
    case Endpoint::kModels:
      return models_response(engine);
    case Endpoint::kModel:
      return model_response(engine, route_.model);
    case Endpoint::kHealth:
      return health_response(engine, hub_.draining);
    case Endpoint::kMetrics:
      return metrics_response(engine, hub_.metrics);
    case Endpoint::kStatus:
      return status_response(engine);
    default:
      return version_response();
  }
}

void Connection::begin_generation(ReplyKind kind) {
  engine::Engine& engine = ready_engine(hub_.engine(), hub_.draining);
  abandoned_ = std::make_shared<std::atomic<bool>>(false);
  auto inbox = std::make_shared<ChunkInbox>([weak = weak_from_this(), executor = executor_] {
    asio::post(executor, [weak] {
      if (auto self = weak.lock()) self->guarded([&] { self->on_chunks(); });
    });
  });
  phase_ = Phase::kPreparing;
  phase_began_ = Clock::now();
  asio::post(hub_.workers, [self = shared_from_this(), &engine, kind, inbox,
                            body = std::move(request_.body), abandoned = abandoned_] {
    std::unique_ptr<Generation> generation;
    std::optional<ApiError> error;
    try {
      generation = Generation::start(engine, kind, body, inbox, *abandoned);
    } catch (...) {
      const bool draining = engine.health() == engine::Health::kDraining;
      error = current_exception_as_api_error(draining);
    }
    asio::post(self->executor_, [self, generation = std::move(generation), error = std::move(error),
                                 abandoned]() mutable {
      if (*abandoned) return;
      self->guarded([&] { self->on_prepared(std::move(generation), std::move(error)); });
    });
  });
}

void Connection::on_prepared(std::unique_ptr<Generation> generation,
                             std::optional<ApiError> error) {
  if (error) return send(error_response(*error));
  generation_ = std::move(generation);
  phase_ = Phase::kGenerating;
  phase_began_ = last_queued_ = Clock::now();
  on_chunks();
}

void Connection::on_chunks() {
  if (phase_ != Phase::kGenerating) return;
  generation_->receive();
  generation_->streams() ? advance_stream() : advance_plain();
}

void Connection::advance_plain() {
  Reply& reply = generation_->reply();
  if (!reply.finished()) return;
  if (reply.error()) return send(error_response(*reply.error()));
  HttpResponse response;
  response.body = reply.body();
  send(response);
}

void Connection::advance_stream() {
  Reply& reply = generation_->reply();
  // Nothing was sent yet: the failure can still be an HTTP status.
  if (reply.error() && !stream_begun_) return send(error_response(*reply.error()));
  const std::string events = reply.take_events();
  if (!events.empty()) {
    begin_stream();
    stream(events);
  }
  if (reply.finished()) {
    if (reply.error()) status_ = reply.error()->status();
    return end_stream();
  }
  if (unsent_.size() > hub_.limits.unsent_bytes) {
    log_at(LogLevel::kWarn, "[server.stream] {}: cancelled, the client is {} bytes behind",
           request_.request_id, unsent_.size());
    close(kStatusClientClosed);
  }
}

void Connection::finish_request() {
  end_request(status_);
  if (closes_after_reply()) return linger();
  begin_request();
  consume_input();
}

void Connection::end_request(int status) {
  if (abandoned_) *abandoned_ = true;
  abandoned_.reset();
  if (request_open_) count_and_log(status);
  generation_.reset();
  if (std::exchange(request_open_, false)) hub_.request_ended();
}

void Connection::count_and_log(int status) const {
  hub_.metrics.count_request(route_.metric_path, status);
  const std::chrono::duration<double, std::milli> took = Clock::now() - request_began_;
  const bool polled = route_.endpoint == Endpoint::kHealth ||
                      route_.endpoint == Endpoint::kMetrics || route_.endpoint == Endpoint::kStatus;
  log_at(polled ? LogLevel::kDebug : LogLevel::kInfo, "{} {} {} {:.1f} ms {}", request_.method,
         request_.path, status, took.count(), request_.request_id);
}

void Connection::linger() {
  phase_ = Phase::kLingering;
  phase_began_ = Clock::now();
  ErrorCode ignored;
  socket_.shutdown(Socket::shutdown_send, ignored);
  if (peer_sends_no_more_) close(0);
}

void Connection::close_after(const std::exception& error) {
  log_at(LogLevel::kError, "[server.connection] closed after {}", error.what());
  close(500);
}

void Connection::close(int status) {
  if (phase_ == Phase::kClosed) return;
  phase_ = Phase::kClosed;
  end_request(status);
  ErrorCode ignored;
  socket_.close(ignored);
  timer_.cancel();
  hub_.remove(this);
}

}  // namespace krserve::server
