#include "server/metrics/component_status.h"

#include <nlohmann/json.hpp>

namespace krserve::server {

using engine::Grade;
using engine::GradedMetric;
using Json = nlohmann::json;

void write_component_status(PrometheusWriter& writer, const std::vector<GradedMetric>& metrics) {
  constexpr std::string_view kName = "krserve:component_status";
  writer.family(kName, "0 on target, 1 acceptable, 2 warning, 3 critical.", "gauge");
  for (const GradedMetric& m : metrics) {
    if (m.grade == Grade::kNoData) continue;
    const int level = static_cast<int>(m.grade) - static_cast<int>(Grade::kOnTarget);
    writer.sample(kName, {{"component", m.component}, {"metric", m.metric}}, level);
  }
}

Json component_status_json(const engine::EngineStatistics& s) {
  Json components = {{"memory_pool", {{"enabled", s.pool.enabled}}},
                     {"blit_queue", {{"enabled", s.blit.enabled}}},
                     {"command_ring", {{"enabled", s.ring.enabled}}}};
  std::map<std::string_view, Grade> worst;
  for (const GradedMetric& m : engine::grade_components(s)) {
    Json entry = {{"name", m.metric},
                  {"unit", m.unit},
                  {"target", m.target},
                  {"warning", m.warning},
                  {"critical", m.critical},
                  {"grade", to_string(m.grade)},
                  {"higher_is_better", m.higher_is_better}};
    entry["value"] = m.grade == Grade::kNoData ? Json() : Json(m.value);
    if (m.grade > Grade::kOnTarget) entry["remedy"] = m.remedy;
    worst[m.component] = std::max(worst[m.component], m.grade);
    components[std::string(m.component)]["metrics"].push_back(std::move(entry));
  }
  for (const auto& [component, grade] : worst) {
    components[std::string(component)]["grade"] = to_string(grade);
  }
  return {{"components", std::move(components)}};
}

}  // namespace krserve::server
