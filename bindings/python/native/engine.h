// The engine as a Python object: settings and JSON in, generations and statistics out.
#pragma once

#include <nanobind/nanobind.h>

#include <memory>
#include <mutex>
#include <string>

#include "engine/engine.h"

namespace krserve::python {

// An engine that can be closed while other threads use it.
class EngineHandle {
 public:
  explicit EngineHandle(std::shared_ptr<engine::Engine> engine) : engine_(std::move(engine)) {}
  ~EngineHandle();
  EngineHandle(const EngineHandle&) = delete;
  EngineHandle& operator=(const EngineHandle&) = delete;

  // Throws Error after close().
  std::shared_ptr<engine::Engine> use() const;
  bool is_closed() const;
  // Running requests are cancelled. Idempotent. Not with Python's lock held.
  void close();

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<engine::Engine> engine_;
};

void bind_engine(nanobind::module_& module);

}  // namespace krserve::python
