#include "cli/doctor/live_status.h"

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "cli/bench/workload.h"
#include "cli/options.h"
#include "server/metrics/component_status.h"

namespace krserve::cli {
namespace {

using Json = nlohmann::json;

std::string limit_text(const Json& metric, const char* limit, bool target) {
  const bool higher = metric.at("higher_is_better").get<bool>();
  const double value = metric.at(limit).get<double>();
  if (target && !higher && value == 0) return "0";
  return fmt::format("{}{:g}", higher == target ? ">" : "<", value);
}

}  // namespace

Json status_of_short_run(const RuntimeConfig& config) {
  Workload workload;
  workload.batch = 2;
  workload.prompt_tokens = 32;
  workload.gen_tokens = 64;
  const auto model_dir = model_directory(config);
  const auto engine =
      engine::Engine::create(config_for(config, model_dir, workload), model_dir, {}, nullptr);
  run_workload(*engine, workload);  // makes the recordings
  engine->reset_statistics();
  run_workload(*engine, workload);
  return server::component_status_json(engine->statistics());
}

void print_status(const Json& status) {
  if (status.is_null()) {
    std::printf(
        "\nNo grades: name a running server (--server http://host:port) or a model (-m).\n");
    return;
  }
  std::printf("\n%-14s %-17s %10s %9s %9s %9s  %s\n", "Component", "metric", "value", "target",
              "warning", "critical", "grade");
  for (const auto& [component, state] : status.at("components").items()) {
    for (const Json& m : state.value("metrics", Json::array())) {
      const Json& value = m.at("value");
      const std::string unit = m.at("unit");
      const std::string shown = value.is_null() ? "-"
                                                : fmt::format("{:.3g}{}{}", value.get<double>(),
                                                              unit.empty() ? "" : " ", unit);
      std::printf("%-14s %-17s %10s %9s %9s %9s  %s\n", component.c_str(),
                  m.at("name").get<std::string>().c_str(), shown.c_str(),
                  limit_text(m, "target", true).c_str(), limit_text(m, "warning", false).c_str(),
                  limit_text(m, "critical", false).c_str(),
                  m.at("grade").get<std::string>().c_str());
      if (m.contains("remedy")) {
        std::printf("%-14s %-17s %s\n", "", "", m.at("remedy").get<std::string>().c_str());
      }
    }
    if (!state.at("enabled").get<bool>()) std::printf("%-14s is off\n", component.c_str());
  }
}

}  // namespace krserve::cli
