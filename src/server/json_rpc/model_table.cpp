#include "server/json_rpc/model_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace krserve::server::rpc {

Model::State Model::state() const {
  const std::lock_guard lock(state_mutex_);
  return state_;
}

Model::Use Model::use() const {
  std::shared_lock lock(use_mutex_);
  if (engine_) return {std::move(lock), *engine_};
  throw not_ready();
}

Model::Use Model::use_ready() const {
  if (state() != State::kReady) throw not_ready();
  return use();
}

RpcError Model::not_ready() const {
  const char* why = state() == State::kLoading ? "is still being loaded" : "is being unloaded";
  return {ErrorCode::kModelNotLoaded, fmt::format("model '{}' {}", name_, why)};
}

void Model::set_engine(std::unique_ptr<engine::Engine> engine, std::string path, double load_ms) {
  const std::unique_lock lock(use_mutex_);
  engine_ = std::move(engine);
  path_ = std::move(path);
  load_ms_ = load_ms;
  set_state(State::kReady);
}

void Model::set_state(State state) {
  const std::lock_guard lock(state_mutex_);
  state_ = state;
}

void Model::unload() {
  const std::unique_lock lock(use_mutex_);
  engine_.reset();
}

OrderedJson Model::describe(const Use& use) const {
  const engine::ModelInfo& info = use->model();
  return {{"name", name_},
          {"path", path_},
          {"architecture", info.architecture},
          {"context_length", info.context_length},
          {"vocab_size", info.vocab_size},
          {"weight_bytes", info.weight_bytes},
          {"kv_cache_bytes", info.kv_cache_bytes},
          {"load_ms", load_ms_},
          {"device", info.device},
          {"device_name", info.device_name}};
}

RpcError ModelTable::not_loaded(std::string message) const {
  OrderedJson names = OrderedJson::array();
  for (const ModelPtr& model : models_) {
    if (model->state() == Model::State::kReady) names.push_back(model->name());
  }
  return {ErrorCode::kModelNotLoaded, std::move(message), {{"loaded", std::move(names)}}};
}

ModelPtr ModelTable::reserve(const std::string& name) {
  const std::lock_guard lock(mutex_);
  for (const ModelPtr& model : models_) {
    if (model->name() != name) continue;
    throw invalid_param(
        "name", fmt::format("the name '{}' is taken by a model that is loaded or on its way; "
                            "give another one or unload that model",
                            name));
  }
  return models_.emplace_back(std::make_shared<Model>(name));
}

ModelPtr ModelTable::find(const std::string& name) const {
  const std::lock_guard lock(mutex_);
  if (name.empty()) {
    if (models_.size() == 1) return models_.front();
    throw not_loaded(
        models_.empty() ? "no model is loaded; call load_model first"
                        : fmt::format("{} models are loaded; name one in 'model'", models_.size()));
  }
  for (const ModelPtr& model : models_) {
    if (model->name() == name) return model;
  }
  throw not_loaded(fmt::format("there is no model '{}'", name));
}

void ModelTable::erase(const ModelPtr& model) {
  const std::lock_guard lock(mutex_);
  std::erase(models_, model);
}

std::vector<ModelPtr> ModelTable::all() const {
  const std::lock_guard lock(mutex_);
  return models_;
}

}  // namespace krserve::server::rpc
