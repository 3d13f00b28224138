// Hands chunks from the engine's thread to a connection, which may be gone by then.
#pragma once

#include <cstddef>
#include <functional>
#include <mutex>
#include <vector>

#include "engine/request.h"

namespace krserve::server {

class ChunkInbox {
 public:
  struct Item {
    size_t choice;
    engine::Chunk chunk;
  };

  // `wake` is called under a lock, once per take(): it may only post.
  explicit ChunkInbox(std::function<void()> wake) : wake_(std::move(wake)) {}

  // Any thread. Dropped after close().
  void push(size_t choice, engine::Chunk&& chunk);
  std::vector<Item> take();
  // No wake() runs during or after this.
  void close();

 private:
  std::mutex mutex_;
  std::vector<Item> items_;
  std::function<void()> wake_;
};

}  // namespace krserve::server
