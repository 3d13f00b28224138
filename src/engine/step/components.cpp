#include "engine/step/components.h"

#include "base/error.h"
#include "base/log.h"
#include "runtime/memory_pool/allocation_log.h"
#include "runtime/memory_pool/memory_pool.h"

namespace krserve::engine {
namespace {

// Runs `make` if wanted; true when it succeeded.
template <class Make>
bool try_start(const MetalOptimizationsConfig& config, bool enabled, const char* what, Make make) {
  if (!config.enabled || !enabled) return false;
  try {
    make();
    return true;
  } catch (const Error& error) {
    if (!config.graceful_fallback) throw;
    log_at(parse_log_level(config.fallback_log_level),
           "[engine.start] Failed to initialize Metal optimizations: {} off: {}", what,
           error.what());
    return false;
  }
}

}  // namespace

Components make_components(std::shared_ptr<Device> device, const MetalOptimizationsConfig& config,
                           runtime::MemoryLimit limit) {
  Components out;
  out.device = std::move(device);
  out.compute = out.device->new_queue(QueueKind::kCompute);
  out.pool = try_start(config, config.memory_pool.enabled, "memory pool", [&] {
    out.allocator = std::make_unique<runtime::MemoryPool>(out.device, config.memory_pool, limit);
  });
  if (!out.pool) out.allocator = std::make_unique<runtime::DirectAllocator>(out.device, limit);
  if (!config.memory_pool.allocation_log.empty()) {
    out.allocator = std::make_unique<runtime::LoggingAllocator>(std::move(out.allocator),
                                                                config.memory_pool.allocation_log);
  }
  out.blit = try_start(config, config.blit_queue.enabled, "blit queue", [&] {
    out.transfers = std::make_unique<runtime::BlitQueue>(out.device, config.blit_queue);
  });
  if (!out.blit) out.transfers = std::make_unique<runtime::DirectBlit>(out.device);
  try_start(config, config.command_buffer_ring.enabled, "command ring", [&] {
    out.ring =
        std::make_unique<runtime::CommandRing>(out.device, out.compute, config.command_buffer_ring);
  });
  return out;
}

}  // namespace krserve::engine
