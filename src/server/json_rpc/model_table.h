// The models that are loaded, being loaded or being unloaded, by name.
#pragma once

#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "server/json_rpc/rpc_error.h"

namespace krserve::server::rpc {

// One model. Its engine is used through Use, so that it is destroyed by unload() and never by the
// engine's own thread.
class Model {
 public:
  enum class State { kLoading, kReady, kUnloading };

  // The engine, which stays while this lives. Keep it short: unload() waits for it.
  class Use {
   public:
    Use(std::shared_lock<std::shared_mutex> lock, engine::Engine& engine)
        : lock_(std::move(lock)), engine_(&engine) {}
    engine::Engine& operator*() const { return *engine_; }
    engine::Engine* operator->() const { return engine_; }

   private:
    std::shared_lock<std::shared_mutex> lock_;
    engine::Engine* engine_;
  };

  explicit Model(std::string name) : name_(std::move(name)) {}

  const std::string& name() const { return name_; }
  State state() const;
  // Throws RpcError kModelNotLoaded while it is being loaded and after unload().
  Use use() const;
  // For new work: throws while it is being unloaded too.
  Use use_ready() const;
  // Load has ended; `path` is the directory.
  void set_engine(std::unique_ptr<engine::Engine> engine, std::string path, double load_ms);
  void set_state(State state);
  // Destroys the engine once nobody uses it.
  void unload();

  // As list_models tells it; needs an engine in use.
  OrderedJson describe(const Use& use) const;

 private:
  RpcError not_ready() const;

  const std::string name_;
  mutable std::shared_mutex use_mutex_;  // shared: the engine is used; exclusive: it changes
  std::unique_ptr<engine::Engine> engine_;
  std::string path_;
  double load_ms_ = 0;
  mutable std::mutex state_mutex_;
  State state_ = State::kLoading;
};

using ModelPtr = std::shared_ptr<Model>;

// Any thread.
class ModelTable {
 public:
  // Throws RpcError kInvalidParams when the name is taken.
  ModelPtr reserve(const std::string& name);
  // The named one; with an empty name the only one. Throws RpcError kModelNotLoaded, with the
  // names in data.loaded.
  ModelPtr find(const std::string& name) const;
  void erase(const ModelPtr& model);
  // In the order of their loading.
  std::vector<ModelPtr> all() const;

 private:
  RpcError not_loaded(std::string message) const;  // with mutex_ held

  mutable std::mutex mutex_;
  std::vector<ModelPtr> models_;
};

}  // namespace krserve::server::rpc
