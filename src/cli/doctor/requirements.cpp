#include "cli/doctor/requirements.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/units.h"
#include "config/recommend.h"

namespace krserve::cli {
namespace {

Requirement heaps_fit(const MemoryPoolConfig& pool, uint64_t memory, uint64_t available) {
  const auto bytes = static_cast<uint64_t>(pool.heap_size_mb * pool.num_heaps) * kMiB;
  const uint64_t room = available > 0 ? available : memory;
  Requirement r;
  r.met = bytes <= room / 2;
  r.what = fmt::format("memory pool: {} heaps of {} MB are {} of {} {}", pool.num_heaps,
                       pool.heap_size_mb, format_bytes(bytes), format_bytes(room),
                       available > 0 ? "available" : "installed");
  if (!r.met) {
    const MemoryPoolConfig better = recommend_settings(memory).settings.memory_pool;
    r.remedy = fmt::format("leave half for weights: heap_size_mb: {}, num_heaps: {}",
                           better.heap_size_mb, better.num_heaps);
  }
  return r;
}

Requirement warmup_fits(const MemoryPoolConfig& pool) {
  const auto largest = std::max_element(pool.warmup_sizes.begin(), pool.warmup_sizes.end());
  if (largest == pool.warmup_sizes.end()) return {true, "warm-up: none asked for", {}};
  Requirement r{
      *largest <= pool.heap_size_mb,
      fmt::format("warm-up: largest size {} MB, heaps of {} MB", *largest, pool.heap_size_mb),
      {}};
  if (!r.met) {
    r.remedy = fmt::format("sizes above {} MB are skipped: raise heap_size_mb or drop them",
                           pool.heap_size_mb);
  }
  return r;
}

Requirement budget_fits(const RuntimeConfig& config, uint64_t memory) {
  const auto limit = static_cast<uint64_t>(config.memory.limit_mb) * kMiB;
  if (limit == 0) {
    return {true, fmt::format("memory budget: none set, {} installed", format_bytes(memory)), {}};
  }
  Requirement r{
      limit <= memory,
      fmt::format("memory budget: {} of {} installed", format_bytes(limit), format_bytes(memory)),
      {}};
  if (!r.met) r.remedy = "lower memory.limit_mb";
  return r;
}

Requirement threads_fit(const RuntimeConfig& config, uint32_t cores) {
  const int64_t threads = config.engine.threads == 0 ? cores : config.engine.threads;
  Requirement r{threads <= static_cast<int64_t>(cores),
                fmt::format("workers: {} on {} cores", threads, cores),
                {}};
  if (!r.met) r.remedy = fmt::format("set engine.threads to {} or 0", cores);
  return r;
}

}  // namespace

std::vector<Requirement> check_requirements(const DeviceInfo& device, const RuntimeConfig& config,
                                            uint64_t available_bytes, uint32_t cores) {
  std::vector<Requirement> all;
  const MetalOptimizationsConfig& m = config.metal_optimizations;
  if (m.enabled && m.memory_pool.enabled) {
    all.push_back(heaps_fit(m.memory_pool, device.memory_bytes, available_bytes));
    all.push_back(warmup_fits(m.memory_pool));
  }
  all.push_back(budget_fits(config, device.memory_bytes));
  if (device.backend == "cpu") all.push_back(threads_fit(config, cores));
  return all;
}

}  // namespace krserve::cli
