// One request on its way: who answers it, and where the answer goes.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "server/json_rpc/frame_writer.h"
#include "server/json_rpc/protocol.h"

namespace krserve::server::rpc {

// How many calls have not been answered yet.
class OpenCalls {
 public:
  void begin();
  void end();
  // Until `allowed` or fewer are open; false when the time is over.
  bool wait(size_t allowed, std::chrono::milliseconds limit);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t count_ = 0;
};

// Collects the answers of one batch and hands them on together, in the order of the requests.
class Batch {
 public:
  Batch(FrameWriter& writer, size_t answers) : writer_(writer), open_(answers), texts_(answers) {}
  void add(size_t place, std::string text);

 private:
  FrameWriter& writer_;
  std::mutex mutex_;
  size_t open_;
  std::vector<std::string> texts_;
};

// Shared by whatever still works on the request; the first answer counts. Any thread.
class Call {
 public:
  using Answer = std::function<void(std::string)>;

  // `answer` gets the response's text; it is not called for a notification.
  // `bytes`: about what its parameters hold.
  Call(Request request, size_t bytes, Answer answer, OpenCalls& open);
  // Answers that the call was given up, unless it was answered.
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  const std::string& method() const { return request_.method; }
  const Json& params() const { return request_.params; }
  bool is_notification() const { return !request_.id.has_value(); }
  size_t bytes() const { return bytes_; }
  // Null for a notification.
  const Json& id() const { return id_; }

  void result(const OrderedJson& value);
  void error(const RpcError& error);
  // The exception being handled.
  void error_from_exception() { error(current_exception_as_rpc_error()); }

 private:
  bool take_turn();

  const Request request_;
  const Json id_;
  const size_t bytes_;
  const Answer answer_;
  OpenCalls& open_;
  std::mutex mutex_;
  bool answered_ = false;
};

using CallPtr = std::shared_ptr<Call>;

}  // namespace krserve::server::rpc
