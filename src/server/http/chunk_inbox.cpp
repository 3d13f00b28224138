#include "server/http/chunk_inbox.h"

#include <utility>

namespace krserve::server {

void ChunkInbox::push(size_t choice, engine::Chunk&& chunk) {
  const std::lock_guard lock(mutex_);
  if (!wake_) return;
  items_.push_back({choice, std::move(chunk)});
  if (items_.size() == 1) wake_();
}

std::vector<ChunkInbox::Item> ChunkInbox::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(items_, {});
}

void ChunkInbox::close() {
  const std::lock_guard lock(mutex_);
  wake_ = nullptr;
  items_.clear();
}

}  // namespace krserve::server
