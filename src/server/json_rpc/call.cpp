#include "server/json_rpc/call.h"

#include <fmt/ranges.h>

#include <utility>

#include "base/log.h"

namespace krserve::server::rpc {

void OpenCalls::begin() {
  const std::lock_guard lock(mutex_);
  ++count_;
}

void OpenCalls::end() {
  const std::lock_guard lock(mutex_);
  --count_;
  changed_.notify_all();
}

bool OpenCalls::wait(size_t allowed, std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, limit, [&] { return count_ <= allowed; });
}

void Batch::add(size_t place, std::string text) {
  const std::lock_guard lock(mutex_);
  texts_[place] = std::move(text);
  if (--open_ == 0) writer_.send(fmt::format("[{}]", fmt::join(texts_, ",")));
}

Call::Call(Request request, size_t bytes, Answer answer, OpenCalls& open)
    : request_(std::move(request)),
      id_(request_.id.value_or(Json())),
      bytes_(bytes),
      answer_(std::move(answer)),
      open_(open) {
  open_.begin();
}

Call::~Call() {
  if (answered_) return;
  error({ErrorCode::kOverloaded, "given up: the server is shutting down"});
}

bool Call::take_turn() {
  const std::lock_guard lock(mutex_);
  return !std::exchange(answered_, true);
}

void Call::result(const OrderedJson& value) {
  if (!take_turn()) return;
  if (!is_notification()) answer_(result_text(id_, value));
  open_.end();
}

void Call::error(const RpcError& error) {
  if (!take_turn()) return;
  if (is_notification()) {
    log().warn("[json_rpc.notify] {} was refused and has no id to answer under: {}", method(),
               error.message());
  } else {
    answer_(error_text(id_, error));
  }
  open_.end();
}

}  // namespace krserve::server::rpc
