#include "base/units.h"
#include "blit/blit_bench.h"
#include "device/cpu/cpu_device.h"
#include "runtime/blit_queue/blit_queue.h"
#include "runtime/blit_queue/direct_blit.h"
#include "support/discrete_cpu.h"

namespace krserve::bench {
namespace {

constexpr int kTransfers = 500;
constexpr uint64_t kSmall = 4 * kKiB;

// Median of one upload with its wait, in microseconds.
double latency_us(Device& device, runtime::Transfers& transfers) {
  const auto buffer = device.new_buffer(kMiB, Storage::kShared);
  const std::vector<std::byte> host(kSmall, std::byte{1});
  std::vector<double> times;
  for (int i = 0; i < kTransfers; ++i) {
    const uint64_t start = now_ns();
    transfers.wait(transfers.upload({buffer.get(), 0, kSmall}, host.data(), kSmall));
    times.push_back(static_cast<double>(now_ns() - start) / 1e3);
  }
  return spread(times)["median"];
}

// Time of one of many small uploads, in microseconds; `stride` above `bytes` leaves holes.
double each_us(Device& device, runtime::BlitQueue& blit, uint64_t bytes, uint64_t stride) {
  const auto buffer = device.new_buffer(kTransfers * stride, Storage::kShared);
  const std::vector<std::byte> host(bytes, std::byte{1});
  const uint64_t start = now_ns();
  for (uint64_t i = 0; i < kTransfers; ++i) {
    blit.upload({buffer.get(), i * stride, bytes}, host.data(), bytes);
  }
  blit.wait_all();
  return static_cast<double>(now_ns() - start) / 1e3 / kTransfers;
}

}  // namespace

Json run_small(const Options& options) {
  const std::shared_ptr<Device> cpu =
      make_cpu_device({.threads = options.threads, .simd_level = {}});
  const std::shared_ptr<Device> discrete = std::make_shared<test::DiscreteCpu>(1);
  runtime::BlitQueue no_copy(cpu, {});
  runtime::BlitQueue staged(discrete, {});
  runtime::DirectBlit direct(cpu);
  std::vector<double> stores, copies, baseline, adjacent, apart;
  uint64_t coalesced = 0;
  for (int i = 0; i < options.repeats; ++i) {
    stores.push_back(latency_us(*cpu, no_copy));
    copies.push_back(latency_us(*discrete, staged));
    baseline.push_back(latency_us(*cpu, direct));
    staged.reset_statistics();
    adjacent.push_back(each_us(*discrete, staged, 256, 256));
    coalesced = staged.statistics().coalesced_count;
    apart.push_back(each_us(*discrete, staged, 256, 512));
  }
  return {{"upload_bytes", kSmall},
          {"no_copy_us", spread(stores)},
          {"staged_us", spread(copies)},
          {"without_the_queue_us", spread(baseline)},
          {"coalescing",
           {{"uploads", kTransfers},
            {"bytes", 256},
            {"coalesced_of_them", coalesced},
            {"adjacent_us_each", spread(adjacent)},
            {"apart_us_each", spread(apart)}}}};
}

}  // namespace krserve::bench
