// One client connection: reads requests, runs them, writes answers; everything on one strand.
#pragma once

#include <array>
#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <string>

#include "server/http/generation.h"
#include "server/http/hub.h"
#include "server/http/message.h"
#include "server/http/router.h"

namespace krserve::server {

// A read is always pending, so that a client that goes away is noticed whatever the server is
// doing. A half-closed connection counts as gone while its request is being worked on.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Socket = boost::asio::ip::tcp::socket;

  // The socket's executor is a strand.
  Connection(Socket socket, Hub& hub);
  ~Connection();

  void start();
  // Answers 503 whatever comes, and closes.
  void start_refused();
  // Any thread: closes if no request is under way.
  void begin_drain();
  // Any thread.
  void abort();

 private:
  using Clock = std::chrono::steady_clock;
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  using ErrorCode = boost::system::error_code;
  enum class Phase { kReading, kPreparing, kGenerating, kReplying, kLingering, kClosed };

  // Runs `action`, closes on an exception, sets the timer anew.
  template <class Action>
  void guarded(Action&& action) {
    if (phase_ == Phase::kClosed) return;
    try {
      action();
      if (phase_ != Phase::kClosed) arm_timer();
    } catch (const std::exception& error) {
      close_after(error);
    }
  }

  void read();
  void on_read(const ErrorCode& error, size_t bytes);
  void on_peer_gone(const ErrorCode& error);
  void begin_request();
  void consume_input();
  void on_parse_error(const ErrorCode& error);
  bool request_begun() const;
  void open_request();
  void open_unknown_request();
  void on_header();
  std::optional<HttpResponse> early_answer() const;

  void dispatch();
  HttpResponse answer_at_once() const;
  void begin_generation(ReplyKind kind);
  void on_prepared(std::unique_ptr<Generation> generation, std::optional<ApiError> error);
  void on_chunks();
  void advance_stream();
  void advance_plain();

  void send(const HttpResponse& response);
  void send_final(const HttpResponse& response);  // and close
  std::string response_head(const HttpResponse& response, bool stream) const;
  void begin_stream();
  void stream(std::string_view bytes);
  void end_stream();
  bool closes_after_reply() const;

  void queue_write(std::string_view bytes);
  void write_some();
  void on_written(const ErrorCode& error, size_t bytes);

  void finish_request();
  void end_request(int status);
  void count_and_log(int status) const;
  void linger();
  void close(int status);
  void close_after(const std::exception& error);

  Clock::time_point deadline() const;
  Clock::time_point working_deadline() const;
  void arm_timer();
  void on_deadline(Clock::time_point now);
  void on_working_deadline(Clock::time_point now);

  Socket socket_;
  const boost::asio::any_io_executor executor_;
  Hub& hub_;
  Phase phase_ = Phase::kReading;

  std::array<char, 16 * 1024> read_buffer_;
  std::string input_;
  std::optional<Parser> parser_;

  // The request under way.
  HttpRequest request_;
  Route route_;
  bool request_open_ = false;  // its header has been read and it has not ended
  bool http10_ = false;
  bool client_keeps_alive_ = true;
  bool close_after_reply_ = false;
  bool stream_begun_ = false;
  int status_ = 0;
  std::shared_ptr<std::atomic<bool>> abandoned_;
  std::unique_ptr<Generation> generation_;

  std::string unsent_;
  std::string sending_;
  size_t sending_offset_ = 0;
  bool write_pending_ = false;
  bool peer_sends_no_more_ = false;

  boost::asio::steady_timer timer_;
  std::optional<Clock::time_point> timer_set_to_;
  Clock::time_point phase_began_;
  Clock::time_point request_began_;
  Clock::time_point last_read_;
  Clock::time_point last_queued_;
  Clock::time_point last_written_;
};

}  // namespace krserve::server
