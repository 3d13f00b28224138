// krserve doctor: the device, what basic operations cost on it, whether it can carry the settings,
// which it recommends, and the grades of a running server's or a short run's metrics.
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iterator>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/machine.h"
#include "base/units.h"
#include "cli/bench/report.h"
#include "cli/commands.h"
#include "cli/doctor/device_costs.h"
#include "cli/doctor/live_status.h"
#include "cli/doctor/requirements.h"
#include "cli/doctor/system_requirements.h"
#include "cli/options.h"
#include "cli/status_client.h"
#include "config/document.h"
#include "config/recommend.h"
#include "engine/open_device.h"

namespace krserve::cli {
namespace {

using Json = nlohmann::json;

struct DoctorOptions {
  CommonOptions common;
  std::string server;
  std::string json_file;
};

void print_device(const DeviceInfo& info) {
  std::printf("Device\n  %-34s %s\n  %-34s %s\n  %-34s %s\n", "name", info.name.c_str(), "memory",
              format_bytes(info.memory_bytes).c_str(), "unified memory",
              info.unified_memory ? "yes: uploads are stores" : "no");
}

Json print_requirements(const DeviceInfo& info, const RuntimeConfig& config) {
  Json list = Json::array();
  std::printf("\nRequirements\n");
  const uint32_t cores = std::max(1U, std::thread::hardware_concurrency());
  std::vector<Requirement> all =
      check_system(machine_facts(), metal_gpu_facts(), weight_file_bytes(config.model.path));
  std::ranges::move(check_requirements(info, config, available_memory_bytes(), cores),
                    std::back_inserter(all));
  for (const Requirement& r : all) {
    std::printf("  %-4s %s%s%s\n", r.met ? "ok" : "NO", r.what.c_str(), r.met ? "" : ": ",
                r.remedy.c_str());
    list.push_back({{"met", r.met}, {"what", r.what}, {"remedy", r.remedy}});
  }
  return list;
}

std::string sizes_text(const std::vector<int64_t>& sizes) {
  return fmt::format("[{}]", fmt::join(sizes, ", "));
}

Json print_recommendation(const DeviceInfo& info) {
  const Recommendation r = recommend_settings(info.memory_bytes);
  const MemoryPoolConfig& pool = r.settings.memory_pool;
  std::printf("\nRecommended (%s of memory)\n", std::string(r.machine).c_str());
  std::printf("  memory_pool: heap_size_mb: %lld, num_heaps: %lld, warmup_sizes: %s\n",
              static_cast<long long>(pool.heap_size_mb), static_cast<long long>(pool.num_heaps),
              sizes_text(pool.warmup_sizes).c_str());
  std::printf(
      "  low latency: --preset realtime; throughput: --preset batch; tracing a fault: "
      "--preset debug\n");
  return {{"heap_size_mb", pool.heap_size_mb},
          {"num_heaps", pool.num_heaps},
          {"warmup_sizes", pool.warmup_sizes}};
}

void print_settings(const LoadedConfig& config) {
  std::printf("\nSettings (value, where it was set)\n");
  for (const EffectiveValue& value : effective_values(config)) {
    std::printf("  %-58s %-16s %s\n", value.path.c_str(), value.value.c_str(),
                value.origin.c_str());
  }
}

Json costs_json(const DeviceCosts& costs) {
  return {{"bandwidth_measured_gbs", costs.read_gbs},
          {"matmul_gbs", costs.matmul_gbs},
          {"dispatch_us", costs.dispatch_us},
          {"launch_us", costs.launch_us},
          {"device_allocation_us", costs.device_allocation_us},
          {"pool_allocation_us", costs.pool_allocation_us},
          {"copy_gbs", costs.copy_gbs}};
}

int run(const DoctorOptions& doctor) {
  const LoadedConfig config = doctor.common.load();
  // Asked first: a wrong address should not cost the measurements.
  Json status;
  if (!doctor.server.empty()) status = fetch_status(doctor.server, config.values.server.api_key);
  const std::shared_ptr<Device> device = engine::open_device(config.values);
  const DeviceInfo& info = device->info();
  print_device(info);
  Json result = {{"device", info.name},
                 {"backend", info.backend},
                 {"memory_bytes", info.memory_bytes},
                 {"requirements", print_requirements(info, config.values)}};
  const DeviceCosts costs = measure_costs(device);
  print_costs(costs);
  result.update(costs_json(costs));
  result["recommended"] = print_recommendation(info);
  if (status.is_null() && !config.values.model.path.empty()) {
    status = status_of_short_run(config.values);
  }
  print_status(status);
  if (!status.is_null()) result["components"] = status.at("components");
  print_settings(config);
  add_provenance(result, *device, "krserve doctor");
  write_result(result, doctor.json_file);
  return kExitOk;
}

}  // namespace

Command add_doctor(CLI::App& app) {
  auto options = std::make_shared<DoctorOptions>();
  options->common.add_to(app);
  app.add_option("--server", options->server,
                 "Grade the metrics of the server at http://host:port");
  app.add_option("--json", options->json_file, "Write the findings to this file as JSON");
  return [options] { return run(*options); };
}

}  // namespace krserve::cli
