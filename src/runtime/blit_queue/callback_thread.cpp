#include "runtime/blit_queue/callback_thread.h"

#include <exception>
#include <utility>

#include "base/log.h"

namespace krserve::runtime {

void CallbackThread::post(BlitId id, BlitCallback callback) {
  {
    const std::lock_guard lock(mutex_);
    entries_.push_back({id, std::move(callback), false});
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  }
  changed_.notify_all();
}

void CallbackThread::cancel(BlitId id) {
  if (id == 0) return;
  const std::lock_guard lock(mutex_);
  for (Entry& entry : entries_) entry.cancelled = entry.cancelled || entry.id == id;
}

void CallbackThread::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void CallbackThread::run() {
  for (;;) {
    BlitId id = 0;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return !entries_.empty() || stopping_; });
      if (entries_.empty()) return;
      id = entries_.front().id;
    }
    const std::optional<std::string> error = outcome(id);
    BlitCallback callback;
    {
      const std::lock_guard lock(mutex_);
      callback = std::move(entries_.front().callback);
      entries_.pop_front();
    }
    try {
      callback(error);
    } catch (const std::exception& thrown) {
      log().error("[blit_queue.callback] a completion callback threw: {}", thrown.what());
    }
  }
}

std::optional<std::string> CallbackThread::outcome(BlitId id) {
  try {
    while (wait_(id) == WaitResult::kTimeout) {
      if (auto why = given_up()) return why;
    }
  } catch (const std::exception& error) {
    return error.what();
  }
  const std::lock_guard lock(mutex_);
  if (entries_.front().cancelled) return "the transfer was cancelled";
  return std::nullopt;
}

std::optional<std::string> CallbackThread::given_up() {
  const std::lock_guard lock(mutex_);
  if (entries_.front().cancelled) return "the transfer was cancelled";
  if (stopping_) return "the blit queue was destroyed before the transfer ended";
  return std::nullopt;
}

}  // namespace krserve::runtime
