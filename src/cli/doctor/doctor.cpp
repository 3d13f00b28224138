// krserve doctor: the device, what basic operations cost on it, and the effective settings.
#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/log.h"
#include "base/units.h"
#include "cli/bench/report.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "config/document.h"
#include "runtime/memory_pool/memory_pool.h"

namespace krserve::cli {
namespace {

using Json = nlohmann::json;

constexpr int kSamples = 101;

template <class Work>
double median_us(Work work) {
  std::vector<double> samples;
  for (int i = 0; i < kSamples; ++i) {
    const uint64_t start = now_ns();
    work();
    samples.push_back(static_cast<double>(now_ns() - start) / 1e3);
  }
  return spread_of(std::move(samples)).median;
}

// Commit of an empty command buffer to the host's knowing of its end.
double launch_us(Device& device) {
  const auto queue = device.new_queue(QueueKind::kCompute);
  const auto timeline = device.new_timeline();
  uint64_t value = 0;
  return median_us([&] {
    auto commands = queue->begin(CommandBufferUse::kOnce, "empty");
    const TimelinePoint done{timeline, ++value};
    queue->commit(commands, {}, {&done, 1});
    done.wait(kNoTimeout);
  });
}

double device_allocation_us(Device& device, uint64_t bytes) {
  return median_us([&] {
    const auto buffer = device.new_buffer(bytes, Storage::kShared);
    if (std::byte* data = buffer->contents()) data[0] = std::byte{1};
  });
}

double pool_allocation_us(const std::shared_ptr<Device>& device, uint64_t bytes) {
  MemoryPoolConfig config;
  config.heap_size_mb = 64;
  config.num_heaps = 1;
  config.warmup_sizes = {32};
  runtime::MemoryPool pool(device, config);
  return median_us([&] {
    const auto allocation = pool.allocate(bytes, runtime::MemoryTag::kOther);
    if (std::byte* data = allocation.view().contents()) data[0] = std::byte{1};
  });
}

double copy_gbs(Device& device, uint64_t bytes) {
  const auto from = device.new_buffer(bytes, Storage::kStaging);
  const auto to = device.new_buffer(bytes, Storage::kShared);
  const auto queue = device.new_queue(QueueKind::kCopyToDevice);
  const auto timeline = device.new_timeline();
  double best = 0;
  for (uint64_t i = 1; i <= 5; ++i) {
    auto commands = queue->begin(CommandBufferUse::kOnce, "copy");
    commands->copy(whole(*to), whole(*from));
    const TimelinePoint done{timeline, i};
    queue->commit(commands, {}, {&done, 1});
    done.wait(kNoTimeout);
    const Timestamps times = commands->timestamps();
    if (times.end_ns > times.start_ns) {
      best = std::max(
          best, static_cast<double>(bytes) / static_cast<double>(times.end_ns - times.start_ns));
    }
  }
  return best;
}

void print_settings(const LoadedConfig& config) {
  std::printf("\nSettings (value, where it was set)\n");
  for (const EffectiveValue& value : effective_values(config)) {
    std::printf("  %-58s %-16s %s\n", value.path.c_str(), value.value.c_str(),
                value.origin.c_str());
  }
}

int run(const CommonOptions& common, const std::string& json_file) {
  const LoadedConfig config = common.load();
  DeviceOptions options;
  options.backend = config.values.engine.device;
  options.threads = static_cast<uint32_t>(config.values.engine.threads);
  const std::shared_ptr<Device> device = make_device(options);
  const DeviceInfo& info = device->info();
  const double bandwidth = BandwidthProbe(*device, 512 * kMiB).measure(7);
  const double launch = launch_us(*device);
  const double allocation = device_allocation_us(*device, 1 * kMiB);
  const double pooled = pool_allocation_us(device, 1 * kMiB);
  const double copy = copy_gbs(*device, 64 * kMiB);
  std::printf("Device\n  %-34s %s\n  %-34s %s\n  %-34s %s\n", "name", info.name.c_str(), "memory",
              format_bytes(info.memory_bytes).c_str(), "unified memory",
              info.unified_memory ? "yes: uploads are stores" : "no");
  std::printf("\nMeasured (medians of %d)\n", kSamples);
  std::printf("  %-34s %8.1f GB/s\n", "memory read bandwidth", bandwidth);
  std::printf("  %-34s %8.1f us\n", "empty command buffer, round trip", launch);
  std::printf("  %-34s %8.2f us\n", "1 MiB buffer from the device", allocation);
  std::printf("  %-34s %8.2f us\n", "1 MiB from the memory pool", pooled);
  std::printf("  %-34s %8.1f GB/s\n", "64 MiB copy", copy);
  print_settings(config);
  Json result = {{"device", info.name},
                 {"backend", info.backend},
                 {"memory_bytes", info.memory_bytes},
                 {"bandwidth_measured_gbs", bandwidth},
                 {"launch_us", launch},
                 {"device_allocation_us", allocation},
                 {"pool_allocation_us", pooled},
                 {"copy_gbs", copy}};
  add_provenance(result, *device, "krserve doctor");
  write_result(result, json_file);
  return kExitOk;
}

}  // namespace

Command add_doctor(CLI::App& app) {
  auto common = std::make_shared<CommonOptions>();
  auto json_file = std::make_shared<std::string>();
  common->add_to(app);
  app.add_option("--json", *json_file, "Write the measurements to this file as JSON");
  return [common, json_file] { return run(*common, *json_file); };
}

}  // namespace krserve::cli
