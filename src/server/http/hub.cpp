#include "server/http/hub.h"

namespace krserve::server {

void Hub::add(const std::shared_ptr<Connection>& connection) {
  const std::lock_guard lock(mutex_);
  connections_.emplace(connection.get(), connection);
  metrics.connection_opened();
}

void Hub::remove(Connection* connection) {
  const std::lock_guard lock(mutex_);
  if (connections_.erase(connection) == 0) return;
  metrics.connection_closed();
  changed_.notify_all();
}

size_t Hub::connections() const {
  const std::lock_guard lock(mutex_);
  return connections_.size();
}

std::vector<std::shared_ptr<Connection>> Hub::snapshot() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<Connection>> all;
  for (const auto& [pointer, weak] : connections_) {
    if (auto connection = weak.lock()) all.push_back(std::move(connection));
  }
  return all;
}

void Hub::request_begun() {
  const std::lock_guard lock(mutex_);
  ++running_requests_;
}

void Hub::request_ended() {
  const std::lock_guard lock(mutex_);
  --running_requests_;
  changed_.notify_all();
}

bool Hub::wait_until_idle(std::chrono::steady_clock::time_point deadline,
                          const std::atomic<bool>& give_up) {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, deadline, [&] { return running_requests_ == 0 || give_up; });
  return running_requests_ == 0;
}

bool Hub::wait_until_empty(std::chrono::steady_clock::time_point deadline) {
  std::unique_lock lock(mutex_);
  return changed_.wait_until(lock, deadline, [&] { return connections_.empty(); });
}

void Hub::notify() {
  const std::lock_guard lock(mutex_);
  changed_.notify_all();
}

}  // namespace krserve::server
