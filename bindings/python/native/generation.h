// One running request as Python sees it, and the bell that tells asyncio of its chunks.
#pragma once

#include <nanobind/nanobind.h>

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "engine/engine.h"

namespace krserve::python {

// Wakes one Python thread when any of many requests has new chunks.
class Bell {
 public:
  // Any thread; must return at once.
  void ring(uint64_t token);
  // The tokens rung since the last call; nullopt once closed.
  std::optional<std::vector<uint64_t>> wait();
  void close();

 private:
  std::mutex mutex_;
  std::condition_variable rung_;
  std::vector<uint64_t> tokens_;
  bool closed_ = false;
};

// From the engine's thread to whoever reads; shared by both.
class Inbox {
 public:
  Inbox(std::shared_ptr<Bell> bell, uint64_t token) : bell_(std::move(bell)), token_(token) {}

  void push(engine::Chunk&& chunk);
  // What has arrived, maybe nothing.
  std::vector<engine::Chunk> take();
  // Whether something is there within the time.
  bool wait(std::chrono::nanoseconds timeout);
  bool is_finished();

 private:
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<engine::Chunk> chunks_;
  bool finished_ = false;
  const std::shared_ptr<Bell> bell_;  // null: nobody is told
  const uint64_t token_;
};

// Cancels the request when it goes unfinished.
class Generation {
 public:
  Generation(std::weak_ptr<engine::Engine> engine, engine::RequestId id,
             std::shared_ptr<Inbox> inbox);
  ~Generation();
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  Inbox& inbox() { return *inbox_; }
  void cancel();

 private:
  std::weak_ptr<engine::Engine> engine_;
  engine::RequestId id_;
  std::shared_ptr<Inbox> inbox_;
};

void bind_generation(nanobind::module_& module);

}  // namespace krserve::python
