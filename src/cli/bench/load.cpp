// krserve bench --mode load: the rate at which weights come to the device from the page cache.
#include <algorithm>
#include <cstdio>

#include "base/units.h"
#include "cli/bench/bench.h"
#include "cli/bench/report.h"
#include "model/formats/model_name.h"

namespace krserve::cli {
namespace {

struct Loads {
  std::vector<double> gb_per_s;
  std::vector<double> weights_s;
  std::vector<double> ready_s;  // until the engine takes requests
  uint64_t bytes = 0;
};

void load_once(const RuntimeConfig& config, const std::filesystem::path& model_dir,
               const std::shared_ptr<Device>& device, Loads& loads) {
  const auto seconds = [](uint64_t ns) { return static_cast<double>(ns) / 1e9; };
  const uint64_t start_ns = now_ns();
  const auto engine = engine::Engine::create(config, model_dir, {}, device);
  const engine::ModelInfo& model = engine->model();
  loads.ready_s.push_back(seconds(now_ns() - start_ns));
  loads.weights_s.push_back(seconds(model.load_ns));
  loads.bytes = model.load_bytes;
  loads.gb_per_s.push_back(static_cast<double>(model.load_bytes) /
                           static_cast<double>(std::max<uint64_t>(1, model.load_ns)));
}

}  // namespace

int bench_load(const BenchOptions& options, const LoadedConfig& config) {
  const auto model_dir = model_directory(config.values);
  const RuntimeConfig values = config_for(config.values, model_dir, options.workload);
  const auto device = open_device(config);
  Loads first;  // brings the files into the page cache
  load_once(values, model_dir, device, first);
  Loads loads;
  const uint64_t start_ns = now_ns();
  for (uint32_t i = 0; i < options.repeat && (i == 0 || !over(options, start_ns)); ++i) {
    load_once(values, model_dir, device, loads);
  }
  const Spread rate = spread_of(loads.gb_per_s);
  const Spread ready = spread_of(loads.ready_s);
  std::printf("%s  %s\nload  %s, %zu runs\n", model_name(model_dir).c_str(),
              device->info().name.c_str(), format_bytes(loads.bytes).c_str(),
              loads.gb_per_s.size());
  std::printf("  weights             %10.2f GB/s  (%.2f .. %.2f)\n", rate.median, rate.min,
              rate.max);
  std::printf("  engine ready after  %10.2f s\n", ready.median);
  nlohmann::json result = {{"mode", "load"},
                           {"device", device->info().name},
                           {"model", model_name(model_dir)},
                           {"repeat", loads.gb_per_s.size()},
                           {"bytes", loads.bytes},
                           {"gb_per_s", to_json(rate)},
                           {"weights_s", to_json(spread_of(loads.weights_s))},
                           {"engine_ready_s", to_json(ready)}};
  add_provenance(result, *device, options.command_line);
  write_result(result, options.json_file);
  return kExitOk;
}

}  // namespace krserve::cli
