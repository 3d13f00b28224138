#include "server/http/handlers.h"

#include <nlohmann/json.hpp>

#include "server/metrics/component_status.h"
#include "server/metrics/engine_metrics.h"
#include "server/metrics/process_metrics.h"
#include "server/openai/api_error.h"
#include "server/openai/plan.h"
#include "server/openai/reply.h"
#include "server/version.h"

namespace krserve::server {
namespace {

using Json = nlohmann::ordered_json;
using engine::Engine;
using engine::Health;

struct State {
  const char* status;
  bool has_detail;
};

State state_of(const Engine* engine, bool draining) {
  if (engine == nullptr) return {"loading", false};
  switch (engine->health()) {
    case Health::kLoading:
      return {"loading", false};
    case Health::kStalled:
      return {"stalled", true};
    case Health::kFailed:
      return {"failed", true};
    case Health::kDraining:
      return {"draining", false};
    case Health::kReady:
      break;
  }
  return {draining ? "draining" : "ok", false};
}

HttpResponse json_response(std::string body) {
  HttpResponse response;
  response.body = std::move(body);
  return response;
}

const Engine& loaded(const Engine* engine) {
  if (engine != nullptr) return *engine;
  throw ApiError(503, "The model is still loading; try again soon.", {}, "model_loading")
      .with_header("Retry-After", "1");
}

ModelCard card_of(const Engine& engine) {
  const engine::ModelInfo& model = engine.model();
  return {.id = model.name,
          .created_unix_s = model.created_unix_s,
          .context_length = model.context_length};
}

}  // namespace

HttpResponse health_response(const Engine* engine, bool draining) {
  const State state = state_of(engine, draining);
  Json body = {{"status", state.status}};
  if (state.has_detail) body["detail"] = engine->health_detail();
  HttpResponse response = json_response(body.dump(-1, ' ', false, Json::error_handler_t::replace));
  if (std::string_view(state.status) != "ok") {
    response.status = 503;
    response.headers.emplace_back("Retry-After", "1");
  }
  return response;
}

HttpResponse metrics_response(const Engine* engine, const HttpMetrics& http) {
  PrometheusWriter process;
  write_process_metrics(process, process_usage());
  http.write(process);
  HttpResponse response;
  response.content_type = PrometheusWriter::kContentType;
  if (engine != nullptr) {
    const engine::EngineStatistics statistics = engine->statistics();
    PrometheusWriter writer({{"model_name", engine->model().name}});
    write_engine_metrics(writer, statistics);
    write_runtime_metrics(writer, statistics);
    write_component_status(writer, engine::grade_components(statistics));
    response.body = writer.text();
  }
  response.body += process.text();
  return response;
}

HttpResponse version_response() {
  return json_response(Json{{"version", kVersion}}.dump());
}

HttpResponse status_response(const Engine* engine) {
  return json_response(component_status_json(loaded(engine).statistics()).dump());
}

HttpResponse models_response(const Engine* engine) {
  return json_response(model_list_json(card_of(loaded(engine))));
}

HttpResponse model_response(const Engine* engine, std::string_view name) {
  const std::string& served = loaded(engine).model().name;
  if (name != served) throw model_not_found(name, served);
  return json_response(model_json(card_of(*engine)));
}

Engine& ready_engine(Engine* engine, bool draining) {
  const State state = state_of(engine, draining);
  const std::string_view status = state.status;
  if (status == "ok") return *engine;
  if (status == "loading") {
    loaded(nullptr);
  }
  const std::string why = state.has_detail ? ": " + engine->health_detail() : std::string();
  throw ApiError(503, fmt::format("The server is {}{}.", status, why), {},
                 fmt::format("server_{}", status))
      .with_header("Retry-After", "5");
}

bool authorized(std::string_view authorization_header, std::string_view api_key) {
  if (api_key.empty()) return true;
  constexpr std::string_view kScheme = "bearer ";
  if (authorization_header.size() < kScheme.size()) return false;
  for (size_t i = 0; i < kScheme.size(); ++i) {
    const char c = authorization_header[i];
    const char lower = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    if (lower != kScheme[i]) return false;
  }
  const std::string_view given = authorization_header.substr(kScheme.size());
  unsigned difference = given.size() == api_key.size() ? 0U : 1U;
  for (size_t i = 0; i < given.size(); ++i) {
    difference |= static_cast<unsigned char>(given[i]) ^
                  static_cast<unsigned char>(api_key[i % api_key.size()]);
  }
  return difference == 0;
}

}  // namespace krserve::server
