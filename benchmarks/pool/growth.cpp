#include "pool/growth.h"

#include <algorithm>
#include <deque>
#include <random>

#include "base/units.h"
#include "device/cpu/cpu_device.h"
#include "runtime/memory_pool/memory_pool.h"

namespace krserve::bench {

using runtime::Allocation;
using runtime::MemoryTag;

namespace {

constexpr uint64_t kTrimEvery = 1000;  // requests: as often as a server that is idle now and then

struct Request {
  Allocation kv;
  std::vector<Allocation> scratch;
};

uint64_t live_bytes(const std::deque<Request>& requests) {
  uint64_t sum = 0;
  for (const Request& request : requests) {
    sum += request.kv.view().bytes;
    for (const Allocation& one : request.scratch) sum += one.view().bytes;
  }
  return sum;
}

uint64_t retained_bytes(const runtime::PoolStatistics& s) {
  return s.heap_bytes + s.on_demand_bytes;
}

}  // namespace

nlohmann::json run_growth(const GrowthOptions& options) {
  const uint64_t requests = options.requests;
  const uint64_t longest_bytes = static_cast<uint64_t>(options.longest_mb) * kMiB;
  MemoryPoolConfig config;
  config.enabled = true;
  config.heap_size_mb = options.heap_mb;
  config.num_heaps = 1;
  config.warmup_sizes = {};
  config.allow_growth = true;
  runtime::MemoryPool pool(make_cpu_device({.threads = 1, .simd_level = {}, .spin_us = 0}), config);
  std::mt19937_64 random(7);
  std::deque<Request> running;
  const auto ratio = [&] {
    return static_cast<double>(retained_bytes(pool.statistics())) /
           static_cast<double>(live_bytes(running));
  };
  double worst_late = 0;
  const uint64_t start = now_ns();
  for (uint64_t i = 0; i < requests; ++i) {
    if (running.size() == options.at_once) {
      running.erase(running.begin() + static_cast<long>(random() % options.at_once));
    }
    const uint64_t longest = longest_bytes / 64 + longest_bytes * 63 / 64 * i / requests;
    const uint64_t final_bytes = longest * (50 + random() % 51) / 100;
    Request request;
    // Grows by doubling, as a KV buffer without pages would.
    for (uint64_t bytes = final_bytes / 4; bytes <= final_bytes; bytes *= 2) {
      Allocation larger = pool.allocate(std::max<uint64_t>(1, bytes), MemoryTag::kKv);
      request.kv = std::move(larger);
    }
    for (int n = 0; n < 4; ++n) {
      request.scratch.push_back(pool.allocate(256 + random() % 16384, MemoryTag::kActivations));
    }
    running.push_back(std::move(request));
    if (i % kTrimEvery == kTrimEvery - 1) {
      pool.trim();
      if (i > requests / 2) worst_late = std::max(worst_late, ratio());
    }
  }
  const uint64_t took = now_ns() - start;
  const runtime::PoolStatistics s = pool.statistics();
  return {{"requests", requests},
          {"at_once", options.at_once},
          {"longest_mb", options.longest_mb},
          {"allocations", s.total_allocations},
          {"live_bytes", live_bytes(running)},
          {"retained_bytes", retained_bytes(s)},
          {"retained_by_live", ratio()},
          {"worst_in_second_half", worst_late},
          {"peak_bytes", s.peak_bytes},
          {"heap_mb", config.heap_size_mb},
          {"heaps", s.total_heaps},
          {"heaps_grown", s.heaps_grown},
          {"heaps_trimmed", s.heaps_trimmed},
          {"fallback_allocations", s.fallback_allocations},
          {"us_per_request", static_cast<double>(took) / 1e3 / static_cast<double>(requests)}};
}

}  // namespace krserve::bench
