#include "config/checks.h"

#include <fmt/format.h>

namespace krserve {
namespace {

void check_master_switch(const MetalOptimizationsConfig& config, std::vector<std::string>& out) {
  if (config.enabled) return;
  const auto check = [&](bool enabled, const char* name) {
    if (!enabled) return;
    out.push_back(
        fmt::format("metal_optimizations.{}.enabled = true has no effect: "
                    "metal_optimizations.enabled is false",
                    name));
  };
  check(config.memory_pool.enabled, "memory_pool");
  check(config.blit_queue.enabled, "blit_queue");
  check(config.command_buffer_ring.enabled, "command_buffer_ring");
}

void check_pool(const RuntimeConfig& config, std::vector<std::string>& out) {
  const MemoryPoolConfig& pool = config.metal_optimizations.memory_pool;
  if (!config.metal_optimizations.enabled || !pool.enabled) return;
  for (const int64_t size : pool.warmup_sizes) {
    if (size <= pool.heap_size_mb) continue;
    out.push_back(
        fmt::format("memory_pool.warmup_sizes: {} MB does not fit a heap of "
                    "heap_size_mb = {}; it is skipped",
                    size, pool.heap_size_mb));
  }
  if (pool.allow_growth && config.memory.limit_mb == 0) {
    out.push_back(
        "memory_pool.allow_growth = true without memory.limit_mb: the pool may grow until the "
        "device has no memory left");
  }
  const int64_t heaps_mb = pool.heap_size_mb * pool.num_heaps;
  if (config.memory.limit_mb > 0 && heaps_mb > config.memory.limit_mb) {
    out.push_back(
        fmt::format("memory_pool: {} heaps of {} MB are {} MB, more than "
                    "memory.limit_mb = {}; the pool will not start",
                    pool.num_heaps, pool.heap_size_mb, heaps_mb, config.memory.limit_mb));
  }
}

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

void check_server(const ServerConfig& server, std::vector<std::string>& out) {
  if (is_loopback(server.host) || !server.api_key.empty()) return;
  out.push_back(
      fmt::format("server.host = {} is reachable from other machines and server.api_key "
                  "is empty: anybody can use it",
                  server.host));
}

void check_engine(const EngineConfig& engine, std::vector<std::string>& out) {
  if (engine.ctx_size > 0 && engine.default_max_tokens >= engine.ctx_size) {
    out.push_back(
        fmt::format("engine.default_max_tokens = {} does not fit engine.ctx_size = {}; "
                    "the rest of the context is the limit",
                    engine.default_max_tokens, engine.ctx_size));
  }
}

}  // namespace

std::vector<std::string> config_warnings(const RuntimeConfig& config) {
  std::vector<std::string> out;
  check_master_switch(config.metal_optimizations, out);
  check_pool(config, out);
  check_server(config.server, out);
  check_engine(config.engine, out);
  return out;
}

}  // namespace krserve
