#include "cli/top/json.h"

#include <nlohmann/json.hpp>

namespace krserve::cli {
namespace {

using Json = nlohmann::json;

Json maybe(const std::optional<double>& value) {
  return value ? Json(*value) : Json();
}

Json requests_json(const Snapshot& s) {
  return {{"running", s.requests.running},     {"waiting", s.requests.waiting},
          {"completed", s.requests.completed}, {"cancelled", s.requests.cancelled},
          {"failed", s.requests.failed},       {"preemptions", s.requests.preemptions}};
}

// Null before there are two readings.
Json rates_json(const Rates& r) {
  if (r.seconds <= 0) return {};
  return {{"seconds", r.seconds},
          {"generated_tokens_per_s", r.generated_tokens},
          {"prompt_tokens_per_s", r.prompt_tokens},
          {"steps_per_s", r.steps},
          {"completed_per_s", r.completed},
          {"allocations_per_s", r.allocations},
          {"fallbacks_per_s", r.fallbacks},
          {"uploads_per_s", r.uploads},
          {"downloads_per_s", r.downloads},
          {"upload_bytes_per_s", r.upload_bytes},
          {"download_bytes_per_s", r.download_bytes},
          {"acquisitions_per_s", r.acquisitions},
          {"cpu_cores", r.cpu_cores},
          {"device_busy", r.device_busy},
          {"time_to_first_token_ms", maybe(r.ttft_ms)},
          {"inter_token_ms", maybe(r.inter_token_ms)},
          {"queue_ms", maybe(r.queue_ms)}};
}

Json metric_json(const GradedReading& m, const View& view) {
  const GradedRow row = grade_row(m, view.rates, *view.last);
  return {{"component", m.component},
          {"metric", m.metric},
          {"unit", m.unit},
          {"now", maybe(row.now)},
          {"since_start", maybe(row.since_start)},
          {"target", m.target},
          {"warning", m.warning},
          {"critical", m.critical},
          {"grade", engine::to_string(row.grade)}};
}

}  // namespace

Json view_json(const View& view) {
  Json out = {{"server", view.url}, {"error", view.error.empty() ? Json() : Json(view.error)}};
  if (!view.last) return out;
  out["restarted"] = view.restarted;
  out["model"] = view.last->model;
  out["health"] = view.last->health;
  out["uptime_s"] = view.last->uptime_s;
  out["requests"] = requests_json(*view.last);
  out["rates"] = rates_json(view.rates);
  out["metrics"] = Json::array();
  for (const GradedReading& m : view.last->graded) {
    out["metrics"].push_back(metric_json(m, view));
  }
  return out;
}

}  // namespace krserve::cli
