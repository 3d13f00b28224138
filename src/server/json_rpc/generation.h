// One generate call while it runs, and the table of them by request id.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "server/json_rpc/call.h"
#include "server/json_rpc/generation_request.h"
#include "server/json_rpc/model_table.h"

namespace krserve::server::rpc {

class Generations;

// The engine's thread only appends what it has; the writer's thread makes the frames. So a client
// that reads slowly gets fewer and longer chunks, the engine never waits for it, and what is kept
// for it is at most the output, which the context bounds.
class Generation : public std::enable_shared_from_this<Generation> {
 public:
  Generation(CallPtr call, ModelPtr model, FrameWriter& writer, Generations& table);

  // Plans, checks and submits; answers the call itself when that fails.
  void start();
  // False if it has its last chunk already. Any thread.
  bool cancel();
  // The same, answered with an error; `why` is its message.
  void time_out(const std::string& why);

  const Call& call() const { return *call_; }
  const ModelPtr& model() const { return model_; }
  std::chrono::steady_clock::time_point began() const { return began_; }

 private:
  void submit();
  // The engine's thread.
  void receive(engine::Chunk&& chunk);
  // The writer's thread.
  std::string next_chunk_frame();
  void finish();

  OrderedJson result() const;  // with mutex_ held
  std::optional<RpcError> failure() const;
  // Ends a call that the engine knows nothing of.
  void fail(const RpcError& error);

  const CallPtr call_;
  const ModelPtr model_;
  FrameWriter& writer_;
  Generations& table_;
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  bool stream_ = true;

  std::mutex mutex_;
  std::optional<engine::RequestId> id_;  // the engine's
  bool cancelled_ = false;
  std::string timed_out_;  // not empty: why
  std::string text_;
  std::vector<int32_t> tokens_;
  size_t text_sent_ = 0;
  size_t tokens_sent_ = 0;
  uint64_t next_index_ = 0;
  bool chunk_due_ = false;  // the writer has been asked for one
  std::optional<engine::Chunk> last_;
};

using GenerationPtr = std::shared_ptr<Generation>;

// Any thread.
class Generations {
 public:
  // Throws RpcError kInvalidRequest for a call without an id of its own, or with one in use.
  GenerationPtr open(const CallPtr& call, const ModelPtr& model, FrameWriter& writer);
  // Null when there is none.
  GenerationPtr find(const Json& id) const;
  bool contains(const Json& id) const { return find(id) != nullptr; }
  void erase(const Json& id);
  std::vector<GenerationPtr> all() const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, GenerationPtr> by_id_;  // by the id's JSON
};

}  // namespace krserve::server::rpc
