#include "server/http/generation.h"

#include "base/log.h"
#include "server/openai/plan.h"

namespace krserve::server {

Generation::Generation(engine::Engine& engine, ReplyOptions options,
                       std::shared_ptr<ChunkInbox> inbox)
    : engine_(engine),
      inbox_(std::move(inbox)),
      streams_(options.stream),
      reply_(std::move(options)) {}

Generation::~Generation() {
  inbox_->close();
  cancel_unfinished();
}

std::unique_ptr<Generation> Generation::start(engine::Engine& engine, ReplyKind kind,
                                              const std::string& body,
                                              const std::shared_ptr<ChunkInbox>& inbox,
                                              const std::atomic<bool>& abandoned) {
  if (abandoned) return nullptr;
  Plan plan = kind == ReplyKind::kChat ? plan_chat(engine, body) : plan_completion(engine, body);
  std::unique_ptr<Generation> generation(new Generation(engine, std::move(plan.reply), inbox));
  for (engine::Request& request : plan.sequences) {
    if (abandoned) return nullptr;
    const size_t choice = generation->sequences_.size();
    const auto sink = [inbox, choice](engine::Chunk&& chunk) {
      inbox->push(choice, std::move(chunk));
    };
    generation->sequences_.push_back({engine.submit(std::move(request), sink)});
  }
  return generation;
}

void Generation::receive() {
  for (ChunkInbox::Item& item : inbox_->take()) {
    if (item.chunk.finish) sequences_[item.choice].finished = true;
    reply_.add(item.choice, std::move(item.chunk));
  }
}

void Generation::cancel_unfinished() noexcept {
  for (const Sequence& sequence : sequences_) {
    if (sequence.finished) continue;
    try {
      engine_.cancel(sequence.id);
    } catch (const std::exception& error) {
      log_at(LogLevel::kError, "[server.cancel] {}", error.what());
    }
  }
}

}  // namespace krserve::server
