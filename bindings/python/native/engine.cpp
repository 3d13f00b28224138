#include "native/engine.h"

#include <fmt/format.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include "base/error.h"
#include "hub/resolve_model.h"
#include "native/device.h"
#include "native/generation.h"
#include "native/gil.h"
#include "native/load_settings.h"
#include "server/json_rpc/generation_request.h"
#include "server/openai/json_body.h"
#include "text/tokenizer.h"

namespace krserve::python {
namespace {

using server::parse_json_object;

// Lets Ctrl-C end the loading too.
void report(nb::handle callback, double fraction, const std::string& what) {
  const nb::gil_scoped_acquire held;
  if (PyErr_CheckSignals() != 0) throw nb::python_error();
  if (!callback.is_none()) callback(fraction, what);
}

void init(EngineHandle* self, const std::string& model, const std::string& config_file,
          const std::string& preset, const SettingTexts& values, nb::handle device,
          nb::handle progress) {
  std::shared_ptr<Device> given;
  if (!device.is_none()) given = device_from(device);
  const auto tell = [progress](double fraction, const std::string& what) {
    report(progress, fraction, what);
  };
  std::shared_ptr<engine::Engine> engine = without_gil([&] {
    const LoadedConfig config = load_settings(config_file, preset, values);
    const std::string& named = model.empty() ? config.values.model.path : model;
    if (named.empty())
      throw ConfigError("engine.load", "no model given, and model.path is not set");
    return engine::Engine::create(config.values, hub::resolve_model(named, tell), tell, given);
  });
  new (self) EngineHandle(std::move(engine));
}

std::unique_ptr<Generation> submit(const EngineHandle& self, const std::string& params,
                                   std::shared_ptr<Bell> bell, uint64_t token) {
  auto inbox = std::make_shared<Inbox>(std::move(bell), token);
  std::weak_ptr<engine::Engine> kept;
  engine::RequestId id = 0;
  without_gil([&] {
    const auto engine = self.use();
    auto plan = server::rpc::plan_generation(*engine, parse_json_object(params));
    id = engine->submit(std::move(plan.request),
                        [inbox](engine::Chunk&& chunk) { inbox->push(std::move(chunk)); });
    kept = engine;
  });
  return std::make_unique<Generation>(std::move(kept), id, std::move(inbox));
}

std::vector<int32_t> tokenize(const EngineHandle& self, const std::string& params) {
  return without_gil(
      [&] { return server::rpc::plan_tokens(*self.use(), parse_json_object(params)); });
}

std::string detokenize(const EngineHandle& self, const std::vector<int32_t>& tokens,
                       bool skip_special_tokens) {
  return without_gil([&] { return self.use()->tokenizer().decode(tokens, skip_special_tokens); });
}

const char* health_name(engine::Health health) {
  switch (health) {
    case engine::Health::kLoading:
      return "loading";
    case engine::Health::kReady:
      return "ok";
    case engine::Health::kDraining:
      return "draining";
    case engine::Health::kStalled:
      return "stalled";
    case engine::Health::kFailed:
      break;
  }
  return "failed";
}

std::pair<std::string, std::string> health(const EngineHandle& self) {
  const auto engine = self.use();
  return {health_name(engine->health()), engine->health_detail()};
}

bool drain(const EngineHandle& self, std::optional<double> timeout) {
  const auto limit = to_timeout(timeout);
  return without_gil([&] { return self.use()->drain(static_cast<uint64_t>(limit.count())); });
}

void bind_model_info(nb::module_& module) {
  using engine::ModelInfo;
  nb::class_<ModelInfo>(module, "ModelInfo", "What an engine has loaded.")
      .def_ro("name", &ModelInfo::name)
      .def_ro("architecture", &ModelInfo::architecture)
      .def_ro("context_length", &ModelInfo::context_length, "Tokens, prompt and output together.")
      .def_ro("vocab_size", &ModelInfo::vocab_size)
      .def_ro("weight_bytes", &ModelInfo::weight_bytes)
      .def_ro("bytes_per_token", &ModelInfo::bytes_per_token)
      .def_ro("kv_bytes_per_token", &ModelInfo::kv_bytes_per_token)
      .def_ro("kv_cache_bytes", &ModelInfo::kv_cache_bytes)
      .def_prop_ro("load_ms",
                   [](const ModelInfo& self) { return static_cast<double>(self.load_ns) / 1e6; })
      .def("__repr__", [](const ModelInfo& self) {
        return fmt::format("ModelInfo({}, {}, {} tokens of context, {} of weights)", self.name,
                           self.architecture, self.context_length, self.weight_bytes);
      });
}

}  // namespace

EngineHandle::~EngineHandle() {
  without_gil([&] { close(); });
}

std::shared_ptr<engine::Engine> EngineHandle::use() const {
  const std::lock_guard lock(mutex_);
  if (!engine_) throw Error("engine.use", "the engine is closed");
  return engine_;
}

bool EngineHandle::is_closed() const {
  const std::lock_guard lock(mutex_);
  return engine_ == nullptr;
}

void EngineHandle::close() {
  std::shared_ptr<engine::Engine> engine;  // goes after the lock
  const std::lock_guard lock(mutex_);
  engine.swap(engine_);
}

void bind_engine(nb::module_& module) {
  bind_model_info(module);
  nb::class_<EngineHandle>(module, "Engine",
                           "What krserve.Engine is made of: requests as JSON, chunks as they come.")
      .def("__init__", &init, nb::arg("model"), nb::kw_only(), nb::arg("config_file") = "",
           nb::arg("preset") = "", nb::arg("values") = SettingTexts(),
           nb::arg("device") = nb::none(), nb::arg("progress") = nb::none(),
           nb::sig(
               "def __init__(self, model: str, *, config_file: str = '', preset: str = '', "
               "values: collections.abc.Sequence[tuple[str, str, str]] = [], device: Device | None "
               "= None, progress: collections.abc.Callable[[float, str], object] | None = "
               "None) -> None"))
      .def("submit", &submit, nb::arg("params"), nb::arg("bell") = nb::none(), nb::arg("token") = 0,
           "`params`: JSON object with the fields of JSON-RPC's generate. Raises RequestError, "
           "OverloadError.")
      .def("tokenize", &tokenize, nb::arg("params"),
           "`params`: JSON object with the fields of JSON-RPC's tokenize.")
      .def("detokenize", &detokenize, nb::arg("tokens"), nb::arg("skip_special_tokens") = true)
      .def_prop_ro("model", [](const EngineHandle& self) { return self.use()->model(); })
      .def(
          "statistics", [](const EngineHandle& self) { return self.use()->statistics(); },
          nb::sig("def statistics(self) -> EngineStatistics"))
      .def("reset_statistics", [](const EngineHandle& self) { self.use()->reset_statistics(); })
      .def("health", &health, "Status, and the state of ring, pool and blit queue behind it.")
      .def("drain", &drain, nb::arg("timeout") = nb::none(),
           "No new requests; whether the running ones were done in time.")
      .def_prop_ro("closed", &EngineHandle::is_closed)
      .def("close", [](EngineHandle& self) { without_gil([&] { self.close(); }); });
}

}  // namespace krserve::python
