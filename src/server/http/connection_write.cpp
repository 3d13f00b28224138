// Connection's sending half: response heads, streams, the write queue, time limits.
#include <algorithm>
#include <boost/asio/buffer.hpp>

#include "base/log.h"
#include "server/http/connection.h"
#include "server/openai/sse.h"

namespace krserve::server {

namespace asio = boost::asio;

bool Connection::closes_after_reply() const {
  return close_after_reply_ || !client_keeps_alive_ || hub_.draining;
}

std::string Connection::response_head(const HttpResponse& response, bool stream) const {
  std::string head = fmt::format("HTTP/1.1 {} {}\r\nServer: krserve\r\n", response.status,
                                 reason_phrase(response.status));
  const std::string& id = request_.request_id;
  head += fmt::format("X-Request-Id: {}\r\n", id.empty() ? choose_request_id({}) : id);
  const bool has_body = response.status != 204;
  if (has_body) head += fmt::format("Content-Type: {}\r\n", response.content_type);
  for (const auto& [name, value] : response.headers) head += fmt::format("{}: {}\r\n", name, value);
  if (!stream && has_body) head += fmt::format("Content-Length: {}\r\n", response.body.size());
  if (stream && !http10_) head += "Transfer-Encoding: chunked\r\n";
  const bool closes = closes_after_reply() || (stream && http10_);
  if (closes) head += "Connection: close\r\n";
  if (!closes && http10_) head += "Connection: keep-alive\r\n";
  return head + "\r\n";
}

void Connection::send(const HttpResponse& response) {
  generation_.reset();
  status_ = response.status;
  phase_ = Phase::kReplying;
  phase_began_ = last_written_ = Clock::now();
  std::string bytes = response_head(response, false);
  if (request_.method != "HEAD") bytes += response.body;
  queue_write(bytes);
}

void Connection::send_final(const HttpResponse& response) {
  close_after_reply_ = true;
  send(response);
}

void Connection::begin_stream() {
  if (stream_begun_) return;
  stream_begun_ = true;
  status_ = 200;
  HttpResponse response;
  response.content_type = "text/event-stream; charset=utf-8";
  // The second keeps nginx from collecting the stream.
  response.headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}};
  last_written_ = Clock::now();
  queue_write(response_head(response, true));
}

void Connection::stream(std::string_view bytes) {
  if (http10_) return queue_write(bytes);
  queue_write(fmt::format("{:x}\r\n{}\r\n", bytes.size(), bytes));
}

void Connection::end_stream() {
  generation_.reset();
  phase_ = Phase::kReplying;
  phase_began_ = Clock::now();
  if (http10_) {
    close_after_reply_ = true;
  } else {
    queue_write("0\r\n\r\n");
  }
  if (!write_pending_) finish_request();
}

void Connection::queue_write(std::string_view bytes) {
  last_queued_ = Clock::now();
  unsent_ += bytes;
  if (write_pending_) return;
  last_written_ = last_queued_;
  write_some();
}

void Connection::write_some() {
  if (sending_offset_ == sending_.size()) {
    sending_.clear();
    sending_.swap(unsent_);
    sending_offset_ = 0;
  }
  if (sending_.empty()) {
    if (phase_ == Phase::kReplying) finish_request();
    return;
  }
  write_pending_ = true;
  socket_.async_write_some(
      asio::buffer(sending_.data() + sending_offset_, sending_.size() - sending_offset_),
      [self = shared_from_this()](const ErrorCode& error, size_t bytes) {
        self->write_pending_ = false;
        self->guarded([&] { self->on_written(error, bytes); });
      });
}

void Connection::on_written(const ErrorCode& error, size_t bytes) {
  if (error) return close(kStatusClientClosed);
  sending_offset_ += bytes;
  last_written_ = Clock::now();
  write_some();
}

Connection::Clock::time_point Connection::deadline() const {
  const HttpLimits& limits = hub_.limits;
  switch (phase_) {
    case Phase::kReading:
      if (request_open_) return last_read_ + limits.body_stall_time;
      return request_begun() ? request_began_ + limits.header_time
                             : phase_began_ + limits.idle_time;
    case Phase::kPreparing:
    case Phase::kGenerating:
      return working_deadline();
    case Phase::kReplying:
      return last_written_ + limits.write_stall_time;
    default:
      return phase_began_ + limits.linger_time;
  }
}

Connection::Clock::time_point Connection::working_deadline() const {
  // Far away, but not so far that sums overflow.
  Clock::time_point next = Clock::now() + std::chrono::hours(24);
  const ServerConfig& config = hub_.config;
  if (config.request_timeout_s > 0) {
    next = std::min(next, request_began_ + std::chrono::seconds(config.request_timeout_s));
  }
  if (write_pending_) next = std::min(next, last_written_ + hub_.limits.write_stall_time);
  const bool streams = phase_ == Phase::kGenerating && generation_->streams();
  if (streams && config.keep_alive_s > 0) {
    next = std::min(next, last_queued_ + std::chrono::seconds(config.keep_alive_s));
  }
  return next;
}

void Connection::arm_timer() {
  const Clock::time_point next = deadline();
  // An earlier alarm finds that nothing is due and sets the next one.
  if (timer_set_to_ && *timer_set_to_ <= next) return;
  timer_set_to_ = next;
  timer_.expires_at(next);
  timer_.async_wait([self = shared_from_this()](const ErrorCode& error) {
    if (error) return;
    self->timer_set_to_.reset();
    self->guarded([&] {
      const Clock::time_point now = Clock::now();
      if (now >= self->deadline()) self->on_deadline(now);
    });
  });
}

void Connection::on_deadline(Clock::time_point now) {
  switch (phase_) {
    case Phase::kReading: {
      if (!request_begun()) return close(0);
      if (!request_open_) open_unknown_request();
      return send_final(error_response(
          ApiError(408, "The request did not arrive in time.", {}, "request_timeout")));
    }
    case Phase::kPreparing:
    case Phase::kGenerating:
      return on_working_deadline(now);
    default:
      return close(phase_ == Phase::kReplying ? kStatusClientClosed : 0);
  }
}

void Connection::on_working_deadline(Clock::time_point now) {
  const ServerConfig& config = hub_.config;
  const auto limit = std::chrono::seconds(config.request_timeout_s);
  if (limit.count() > 0 && now >= request_began_ + limit) {
    ApiError error(504,
                   fmt::format("The request took longer than {} s (server.request_timeout_s).",
                               config.request_timeout_s),
                   {}, "request_timeout");
    if (phase_ == Phase::kPreparing) {
      *abandoned_ = true;
      return send(error_response(error));
    }
    generation_->reply().fail(std::move(error));
    return on_chunks();
  }
  if (write_pending_) {
    if (now >= last_written_ + hub_.limits.write_stall_time) return close(kStatusClientClosed);
    last_queued_ = now;  // Bytes wait to be taken: a comment would not arrive sooner.
    return;
  }
  begin_stream();
  stream(kSseKeepAlive);
}

}  // namespace krserve::server
