#include "cli/doctor/device_costs.h"

#include <algorithm>
#include <cstdio>
#include <vector>

#include "base/units.h"
#include "cli/bench/report.h"
#include "runtime/memory_pool/memory_pool.h"

namespace krserve::cli {
namespace {

template <class Work>
double median_us(Work work) {
  std::vector<double> samples;
  for (int i = 0; i < kCostSamples; ++i) {
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

}  // namespace

DeviceCosts measure_costs(const std::shared_ptr<Device>& device) {
  DeviceCosts costs;
  costs.read_gbs = BandwidthProbe(*device, 512 * kMiB).measure(7);
  costs.launch_us = launch_us(*device);
  costs.device_allocation_us = device_allocation_us(*device, 1 * kMiB);
  costs.pool_allocation_us = pool_allocation_us(device, 1 * kMiB);
  costs.copy_gbs = copy_gbs(*device, 64 * kMiB);
  return costs;
}

void print_costs(const DeviceCosts& costs) {
  std::printf("\nMeasured (medians of %d)\n", kCostSamples);
  std::printf("  %-34s %8.1f GB/s\n", "memory read bandwidth", costs.read_gbs);
  std::printf("  %-34s %8.1f us\n", "empty command buffer, round trip", costs.launch_us);
  std::printf("  %-34s %8.2f us\n", "1 MiB buffer from the device", costs.device_allocation_us);
  std::printf("  %-34s %8.2f us\n", "1 MiB from the memory pool", costs.pool_allocation_us);
  std::printf("  %-34s %8.1f GB/s\n", "64 MiB copy", costs.copy_gbs);
}

}  // namespace krserve::cli
