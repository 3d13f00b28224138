// The sequences of one HTTP request while the engine works on them; cancels them when it goes away.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "server/http/chunk_inbox.h"
#include "server/openai/reply.h"

namespace krserve::server {

class Generation {
 public:
  // Plans and submits; stops early (returns nullptr) once `abandoned` is set. Throws ApiError and
  // what Engine::submit throws; what was submitted by then is cancelled. `inbox` gets the chunks.
  static std::unique_ptr<Generation> start(engine::Engine& engine, ReplyKind kind,
                                           const std::string& body,
                                           const std::shared_ptr<ChunkInbox>& inbox,
                                           const std::atomic<bool>& abandoned);
  ~Generation();
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  bool streams() const { return streams_; }
  // Moves what has arrived into the reply.
  void receive();
  Reply& reply() { return reply_; }

 private:
  Generation(engine::Engine& engine, ReplyOptions options, std::shared_ptr<ChunkInbox> inbox);
  void cancel_unfinished() noexcept;

  struct Sequence {
    engine::RequestId id;
    bool finished = false;
  };
  engine::Engine& engine_;
  std::shared_ptr<ChunkInbox> inbox_;
  bool streams_;
  Reply reply_;
  std::vector<Sequence> sequences_;
};

}  // namespace krserve::server
