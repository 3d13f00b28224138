#include "server/json_rpc/generation.h"

#include <fmt/format.h>

#include <utility>

#include "base/log.h"

namespace krserve::server::rpc {
namespace {

double ms(uint64_t ns) {
  return static_cast<double>(ns) / 1e6;
}

OrderedJson timings(const engine::Chunk& last) {
  const uint32_t steps = last.completion_tokens > 1 ? last.completion_tokens - 1 : 0;
  const double decode_s = static_cast<double>(last.times.decode_ns) / 1e9;
  return {{"queue_ms", ms(last.times.queue_ns)},
          {"prefill_ms", ms(last.times.prefill_ns)},
          {"decode_ms", ms(last.times.decode_ns)},
          {"ttft_ms", ms(last.times.ttft_ns)},
          {"total_ms", ms(last.times.total_ns)},
          {"tokens_per_second", decode_s > 0 ? steps / decode_s : 0.0}};
}

OrderedJson usage(const engine::Chunk& last) {
  return {{"prompt_tokens", last.prompt_tokens},
          {"completion_tokens", last.completion_tokens},
          {"cached_tokens", last.cached_tokens},
          {"total_tokens", last.prompt_tokens + last.completion_tokens}};
}

ErrorCode code_of(engine::ErrorKind kind) {
  switch (kind) {
    case engine::ErrorKind::kDevice:
      return ErrorCode::kDevice;
    case engine::ErrorKind::kTimeout:
      return ErrorCode::kRequestFailed;
    case engine::ErrorKind::kOutOfMemory:
      return ErrorCode::kOutOfMemory;
    case engine::ErrorKind::kNone:
    case engine::ErrorKind::kOther:
      break;
  }
  return ErrorCode::kInternal;
}

}  // namespace

Generation::Generation(CallPtr call, ModelPtr model, FrameWriter& writer, Generations& table)
    : call_(std::move(call)), model_(std::move(model)), writer_(writer), table_(table) {}

void Generation::start() {
  try {
    submit();
  } catch (...) {
    fail(current_exception_as_rpc_error());
  }
}

void Generation::submit() {
  const Model::Use engine = model_->use_ready();
  GenerationRequest plan = plan_generation(*engine, call_->params());
  const std::lock_guard lock(mutex_);
  stream_ = plan.stream;
  if (cancelled_) {  // while it waited for its turn
    engine::Chunk nothing;
    nothing.finish = engine::FinishReason::kCancelled;
    nothing.prompt_tokens = static_cast<uint32_t>(plan.request.prompt.size());
    last_ = std::move(nothing);
    writer_.post([self = shared_from_this()] {
      self->finish();
      return std::string();
    });
    return;
  }
  // The sink waits for mutex_ if it is called before id_ is set.
  id_ = engine->submit(std::move(plan.request), [self = shared_from_this()](engine::Chunk&& chunk) {
    self->receive(std::move(chunk));
  });
}

bool Generation::cancel() {
  std::optional<engine::RequestId> id;
  {
    const std::lock_guard lock(mutex_);
    if (last_) return false;
    cancelled_ = true;
    id = id_;
  }
  if (!id) return true;
  try {
    model_->use()->cancel(*id);
  } catch (const RpcError& unloaded) {  // meanwhile, which cancelled it
    log().debug("[json_rpc.cancel] {}", unloaded.what());
  }
  return true;
}

void Generation::time_out(const std::string& why) {
  {
    const std::lock_guard lock(mutex_);
    if (last_ || !timed_out_.empty()) return;
    timed_out_ = why;
  }
  cancel();
}

void Generation::receive(engine::Chunk&& chunk) {
  const std::lock_guard lock(mutex_);
  text_ += chunk.text;
  tokens_.insert(tokens_.end(), chunk.tokens.begin(), chunk.tokens.end());
  const bool news = text_.size() > text_sent_ || tokens_.size() > tokens_sent_;
  if (stream_ && news && !chunk_due_) {
    chunk_due_ = true;
    writer_.post([self = shared_from_this()] { return self->next_chunk_frame(); });
  }
  if (!chunk.finish) return;
  last_ = std::move(chunk);
  writer_.post([self = shared_from_this()] {
    self->finish();
    return std::string();
  });
}

std::string Generation::next_chunk_frame() {
  OrderedJson params = {{"request", call_->id()}};
  {
    // Copied out: the engine's thread waits for mutex_, and the frame is made without it.
    const std::lock_guard lock(mutex_);
    chunk_due_ = false;
    params["index"] = next_index_++;
    params["text"] = text_.substr(text_sent_);
    params["tokens"] = std::vector<int32_t>(
        tokens_.begin() + static_cast<std::ptrdiff_t>(tokens_sent_), tokens_.end());
    text_sent_ = text_.size();
    tokens_sent_ = tokens_.size();
  }
  return notification_text("generate_chunk", params);
}

void Generation::finish() {
  std::optional<RpcError> error;
  OrderedJson value;
  {
    const std::lock_guard lock(mutex_);
    error = failure();
    if (!error) value = result();
  }
  table_.erase(call_->id());
  if (error) {
    call_->error(*error);
  } else {
    call_->result(value);
  }
}

OrderedJson Generation::result() const {
  return {{"text", text_},
          {"tokens", tokens_},
          {"finish_reason", engine::to_string(*last_->finish)},
          {"usage", usage(*last_)},
          {"timings", timings(*last_)}};
}

std::optional<RpcError> Generation::failure() const {
  if (*last_->finish == engine::FinishReason::kError) {
    return RpcError(code_of(last_->error_kind),
                    last_->error.empty() ? "the sequence failed" : last_->error);
  }
  if (*last_->finish == engine::FinishReason::kCancelled && !timed_out_.empty()) {
    return RpcError(ErrorCode::kRequestFailed, timed_out_);
  }
  return std::nullopt;
}

void Generation::fail(const RpcError& error) {
  {
    const std::lock_guard lock(mutex_);
    last_ = engine::Chunk();
  }
  table_.erase(call_->id());
  call_->error(error);
}

GenerationPtr Generations::open(const CallPtr& call, const ModelPtr& model, FrameWriter& writer) {
  if (call->id().is_null()) {
    throw RpcError(ErrorCode::kInvalidRequest,
                   "generate needs an id that is a string or an integer: its chunks carry it");
  }
  const std::lock_guard lock(mutex_);
  GenerationPtr& place = by_id_[call->id().dump()];
  if (place) {
    throw RpcError(ErrorCode::kInvalidRequest,
                   fmt::format("id {} is in use by a running generation", call->id().dump()));
  }
  place = std::make_shared<Generation>(call, model, writer, *this);
  return place;
}

GenerationPtr Generations::find(const Json& id) const {
  const std::lock_guard lock(mutex_);
  const auto found = by_id_.find(id.dump());
  return found == by_id_.end() ? nullptr : found->second;
}

void Generations::erase(const Json& id) {
  const std::lock_guard lock(mutex_);
  by_id_.erase(id.dump());
}

std::vector<GenerationPtr> Generations::all() const {
  const std::lock_guard lock(mutex_);
  std::vector<GenerationPtr> all;
  all.reserve(by_id_.size());
  for (const auto& [id, generation] : by_id_) all.push_back(generation);
  return all;
}

}  // namespace krserve::server::rpc
