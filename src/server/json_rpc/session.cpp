#include "server/json_rpc/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "base/log.h"
#include "base/units.h"
#include "hub/model_name.h"
#include "hub/resolve_model.h"
#include "model/formats/model_name.h"
#include "server/json_rpc/load_progress.h"
#include "server/json_rpc/methods.h"

namespace krserve::server::rpc {
namespace {

// After a drain's time limit, what cancelled calls get to answer.
constexpr std::chrono::seconds kCancelPatience{5};
constexpr std::chrono::seconds kFlushPatience{2};

uint64_t ns(std::chrono::milliseconds time) {
  return static_cast<uint64_t>(std::chrono::nanoseconds(time).count());
}

// A model without a name of its own is called as its directory or its repository. Throws
// ModelError for what cannot be a model.
std::string name_of(const LoadOrder& order) {
  if (!order.name.empty()) return order.name;
  if (!order.config.server.model_name.empty()) return order.config.server.model_name;
  if (const auto path = hub::local_model(order.model)) return model_name(*path);
  return hub::parse_model_id(order.model).value().repository;
}

}  // namespace

Session::Session(LoadedConfig config, int out_fd, std::function<void()> changed,
                 EngineFactory create_engine)
    : config_(std::move(config)),
      changed_(std::move(changed)),
      create_engine_(std::move(create_engine)),
      writer_(out_fd, changed_),
      text_worker_(std::make_unique<SerialWorker>()),
      model_threads_(std::make_unique<Threads>()) {}

Session::~Session() {
  draining_ = true;
  abandon();
  text_worker_.reset();
  model_threads_.reset();
  if (drain_thread_.joinable()) drain_thread_.join();
  for (const ModelPtr& model : models_.all()) model->unload();
}

void Session::handle(std::string_view text) {
  Frame frame;
  try {
    frame = parse_frame(text);
  } catch (const RpcError& error) {
    writer_.send(error_text(nullptr, error));
    return;
  }
  if (!frame.batch) {
    dispatch(frame.entries.front(), text.size(),
             [this](std::string answer) { writer_.send(std::move(answer)); });
    return;
  }
  size_t answers = 0;
  for (const Entry& entry : frame.entries) {
    const auto* request = std::get_if<Request>(&entry);
    if (request == nullptr || request->id) ++answers;
  }
  const auto batch = std::make_shared<Batch>(writer_, answers);
  size_t place = 0;
  for (Entry& entry : frame.entries) {
    const auto* request = std::get_if<Request>(&entry);
    const bool answered = request == nullptr || request->id;
    Call::Answer answer;
    if (answered) {
      answer = [batch, at = place++](std::string one) { batch->add(at, std::move(one)); };
    }
    dispatch(entry, text.size() / frame.entries.size(), answer);
  }
}

void Session::dispatch(Entry& entry, size_t bytes, const Call::Answer& answer) {
  if (const auto* refusal = std::get_if<Refusal>(&entry)) {
    answer(error_text(refusal->id, refusal->error));
    return;
  }
  const auto call =
      std::make_shared<Call>(std::move(std::get<Request>(entry)), bytes, answer, open_);
  try {
    run_method(*this, call);
  } catch (...) {
    call->error_from_exception();
  }
}

void Session::refuse_long_frame(size_t bytes) {
  const RpcError error(
      ErrorCode::kInvalidRequest,
      fmt::format("a frame of {} bytes is longer than {} bytes (rpc.max_frame_mb = {})", bytes,
                  max_frame_bytes(), config_.values.rpc.max_frame_mb),
      {{"bytes", bytes}, {"limit_bytes", max_frame_bytes()}});
  writer_.send(error_text(nullptr, error));
}

void Session::check_time_limits() {
  const std::chrono::seconds limit(config_.values.server.request_timeout_s);
  if (limit.count() == 0) return;
  const auto now = std::chrono::steady_clock::now();
  for (const GenerationPtr& generation : generations_.all()) {
    if (now - generation->began() < limit) continue;
    generation->time_out(
        fmt::format("the request took longer than {} s (server.request_timeout_s)", limit.count()));
  }
}

size_t Session::max_frame_bytes() const {
  return static_cast<size_t>(config_.values.rpc.max_frame_mb) * kMiB;
}

std::chrono::milliseconds Session::drain_timeout() const {
  return std::chrono::seconds(config_.values.server.drain_timeout_s);
}

double Session::uptime_s() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began_).count();
}

void Session::refuse_while_draining() const {
  if (!draining_) return;
  throw RpcError(ErrorCode::kOverloaded, "the server is shutting down and takes no new work",
                 {{"draining", true}});
}

void Session::load_at_start() {
  const RuntimeConfig& config = config_.values;
  if (config.model.path.empty()) return;
  load({.model = config.model.path, .name = {}, .config = config}, nullptr);
}

void Session::load(LoadOrder order, const CallPtr& call) {
  order.name = name_of(order);
  const ModelPtr place = models_.reserve(order.name);
  try {
    model_threads_->run([this, place, order = std::move(order), call] {
      try {
        load_now(place, order, call);
      } catch (...) {
        load_failed(place, call);
      }
    });
  } catch (...) {
    models_.erase(place);
    throw;
  }
}

void Session::load_now(const ModelPtr& place, const LoadOrder& order, const CallPtr& call) {
  const bool told = call == nullptr || !call->is_notification();
  const auto notifications =
      std::make_shared<LoadProgress>(writer_, call ? call->id() : Json(), place->name());
  const auto progress = [&](double fraction, const std::string& what) {
    if (abandoned_) {
      throw OverloadError("json_rpc.load", "given up: the server is shutting down");
    }
    if (told) notifications->update(fraction, what);
  };
  RuntimeConfig config = order.config;
  config.server.model_name = place->name();
  config.model.path = order.model;
  const std::filesystem::path path = hub::resolve_model(order.model, progress);
  const auto began = std::chrono::steady_clock::now();
  auto engine = create_engine_(config, path, progress);
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
  std::error_code ignored;
  place->set_engine(std::move(engine), std::filesystem::weakly_canonical(path, ignored).string(),
                    took.count());
  if (call) call->result({{"model", place->describe(place->use())}});
}

void Session::load_failed(const ModelPtr& place, const CallPtr& call) {
  models_.erase(place);
  const RpcError error = [] {
    try {
      throw;
    } catch (const TextError& text) {  // the tokenizer's files belong to the model
      return RpcError(ErrorCode::kModelLoad, text.what());
    } catch (...) {
      return current_exception_as_rpc_error();
    }
  }();
  log().error("[json_rpc.load] {}: {}", place->name(), error.message());
  if (call) return call->error(error);
  if (!draining_) end(1);
}

void Session::unload(const ModelPtr& model, std::chrono::milliseconds drain_limit,
                     const CallPtr& call) {
  (void)model->use_ready();
  model->set_state(Model::State::kUnloading);
  try {
    model_threads_->run([this, model, drain_limit, call] {
      try {
        const bool drained = model->use()->drain(ns(drain_limit));
        model->unload();
        models_.erase(model);
        call->result({{"name", model->name()}, {"drained", drained}});
      } catch (...) {
        call->error_from_exception();
      }
    });
  } catch (...) {
    model->set_state(Model::State::kReady);
    throw;
  }
}

void Session::begin_drain(std::chrono::milliseconds limit, CallPtr shutdown) {
  if (draining_.exchange(true)) return;
  drain_deadline_ = std::chrono::steady_clock::now() + limit;
  drain_thread_ = std::thread([this, limit, call = std::move(shutdown)] { drain(limit, call); });
}

void Session::drain(std::chrono::milliseconds limit, const CallPtr& shutdown) {
  const size_t own = shutdown ? 1 : 0;
  const bool drained = open_.wait(own, limit);
  if (!drained) {
    log().warn("[json_rpc.drain] some calls did not finish in time");
    abandon();
    open_.wait(own, kCancelPatience);
  }
  if (shutdown) shutdown->result({{"drained", drained}});
  end(exit_code_);
}

void Session::abandon() {
  abandoned_ = true;
  for (const GenerationPtr& generation : generations_.all()) generation->cancel();
}

void Session::flush() {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
      drain_deadline_ - std::chrono::steady_clock::now());
  writer_.flush(std::max<std::chrono::milliseconds>(left, kFlushPatience));
}

void Session::end(int exit_code) {
  exit_code_ = exit_code;
  ended_ = true;
  changed_();
}

}  // namespace krserve::server::rpc
