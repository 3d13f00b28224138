#include "cli/doctor/device_costs.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <limits>
#include <vector>

#include "base/units.h"
#include "cli/bench/report.h"
#include "kernels/ops/matmul.h"
#include "kernels/ops/read_bandwidth.h"
#include "kernels/ops/step_params.h"
#include "runtime/blit_queue/direct_blit.h"
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

// Device time of one run of the commands, best of a few.
template <class Encode>
double best_device_us(Device& device, int runs, Encode encode) {
  const auto queue = device.new_queue(QueueKind::kCompute);
  const auto timeline = device.new_timeline();
  double best = std::numeric_limits<double>::infinity();
  for (int run = 1; run <= runs; ++run) {
    auto commands = queue->begin(CommandBufferUse::kOnce, "doctor");
    encode(*commands);
    const TimelinePoint done{timeline, static_cast<uint64_t>(run)};
    queue->commit(commands, {}, {&done, 1});
    done.wait(kNoTimeout);
    const Timestamps times = commands->timestamps();
    best = std::min(best, static_cast<double>(times.end_ns - times.start_ns) / 1e3);
  }
  return best;
}

double dispatch_us(Device& device) {
  constexpr int kDispatches = 1000;
  constexpr uint64_t kBytes = 4096, kChunk = 256;  // 16 tasks: the workers meet at the barrier
  const auto data = device.new_buffer(kBytes, Storage::kShared);
  const auto sum = device.new_buffer(kBytes, Storage::kShared);
  const std::array views{whole(*data), whole(*sum)};
  const double us = best_device_us(device, 5, [&](CommandBuffer& commands) {
    for (int i = 0; i < kDispatches; ++i) {
      commands.dispatch(ops::Op::kReadBandwidth, ops::ReadBandwidthArgs{kBytes, kChunk}, views);
      commands.barrier();
    }
  });
  return us / kDispatches;
}

// As many weights as no cache holds, as the layers of a model are: matrices of equal size.
double matmul_gbs(const std::shared_ptr<Device>& shared) {
  Device& device = *shared;
  constexpr uint32_t kN = 4096, kK = 2048, kGroup = 64, kMatrices = 64;
  constexpr uint64_t kWeight = uint64_t{kN} * kK / 2, kScales = uint64_t{kN} * kK / kGroup * 2;
  const auto weights = device.new_buffer(kMatrices * kWeight, Storage::kShared);
  const auto scales = device.new_buffer(kMatrices * kScales, Storage::kShared);
  const auto biases = device.new_buffer(kMatrices * kScales, Storage::kShared);
  const auto x = device.new_buffer(kK * sizeof(float), Storage::kShared);
  const auto y = device.new_buffer(kN * sizeof(float), Storage::kShared);
  const auto params = device.new_buffer(256, Storage::kShared);
  const ops::StepHeader header{1, 1, 0, 0};
  runtime::DirectBlit(shared).upload(whole(*params), &header, sizeof(header));
  const ops::MatmulArgs args{
      {kN, kK, ops::WeightFormat::kQ4, ops::FloatType::kBF16, kGroup}, ops::RowCount::kRows, 0};
  const auto fill = [&](Buffer& buffer, CommandBuffer& commands) {
    commands.fill(whole(buffer), 0x3a);  // as bf16: 7e-4
  };
  best_device_us(device, 1, [&](CommandBuffer& commands) {
    for (Buffer* buffer : {weights.get(), scales.get(), biases.get(), x.get()})
      fill(*buffer, commands);
  });
  const double us = best_device_us(device, 5, [&](CommandBuffer& commands) {
    for (uint64_t i = 0; i < kMatrices; ++i) {
      commands.dispatch(
          ops::Op::kMatmul, args,
          std::array{whole(*params), whole(*x), whole(*weights).sub(i * kWeight, kWeight),
                     whole(*scales).sub(i * kScales, kScales),
                     whole(*biases).sub(i * kScales, kScales), BufferView{}, whole(*y)});
      commands.barrier();
    }
  });
  return static_cast<double>(kMatrices * (kWeight + 2 * kScales)) / us / 1e3;
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
  costs.read_gbs = BandwidthProbe(*device).measure(7);
  costs.matmul_gbs = matmul_gbs(device);
  costs.dispatch_us = dispatch_us(*device);
  costs.launch_us = launch_us(*device);
  costs.device_allocation_us = device_allocation_us(*device, 1 * kMiB);
  costs.pool_allocation_us = pool_allocation_us(device, 1 * kMiB);
  costs.copy_gbs = copy_gbs(*device, 64 * kMiB);
  return costs;
}

void print_costs(const DeviceCosts& costs) {
  std::printf("\nMeasured (medians of %d)\n", kCostSamples);
  std::printf("  %-34s %8.1f GB/s\n", "memory read bandwidth", costs.read_gbs);
  std::printf("  %-34s %8.1f GB/s\n", "4-bit weights through a matmul", costs.matmul_gbs);
  std::printf("  %-34s %8.2f us\n", "dispatch and barrier", costs.dispatch_us);
  std::printf("  %-34s %8.1f us\n", "empty command buffer, round trip", costs.launch_us);
  std::printf("  %-34s %8.2f us\n", "1 MiB buffer from the device", costs.device_allocation_us);
  std::printf("  %-34s %8.2f us\n", "1 MiB from the memory pool", costs.pool_allocation_us);
  std::printf("  %-34s %8.1f GB/s\n", "64 MiB copy", costs.copy_gbs);
}

}  // namespace krserve::cli
