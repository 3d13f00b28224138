#include "engine/step/components.h"

#include "base/error.h"
#include "base/log.h"
#include "base/units.h"
#include "runtime/blit_queue/blit_queue.h"
#include "runtime/blit_queue/direct_blit.h"
#include "runtime/memory_pool/allocation_log.h"
#include "runtime/memory_pool/memory_pool.h"

namespace krserve::engine {
namespace {

// What went wrong, as the first words of an error line: these are the lines that the seed document
// tells people to look for.
void log_failure(const Error& error) {
  std::string_view what = error.what();
  what.remove_prefix(error.where().size() + std::string_view("[] ").size());
  log().error("{} [{}]", what, error.where());
}

// Runs `make` if wanted; true when it succeeded.
template <class Make>
bool try_start(const MetalOptimizationsConfig& config, bool enabled, const char* what,
               const char* instead, Make make) {
  if (!config.enabled || !enabled) return false;
  try {
    make();
    return true;
  } catch (const Error& error) {
    log_failure(error);
    if (!config.graceful_fallback) throw;
    log_at(
        parse_log_level(config.fallback_log_level),
        "[engine.start] Failed to initialize Metal optimizations: {} off: {}; falling back to {}",
        what, error.what(), instead);
    return false;
  }
}

// Staging memory counts against memory.limit_mb like everything else.
void check_staging(const Device& device, const runtime::MemoryLimit& limit, uint64_t bytes) {
  try {
    limit.check(device, bytes);
  } catch (const OutOfMemoryError& error) {
    throw_error<OutOfMemoryError>("blit_queue.staging",
                                  "{} of staging memory: {}; or lower "
                                  "blit_queue.staging_buffer_size_mb",
                                  format_bytes(bytes), error.what());
  }
}

}  // namespace

Components make_components(std::shared_ptr<Device> device, const MetalOptimizationsConfig& config,
                           runtime::MemoryLimit limit,
                           std::shared_ptr<runtime::TraceRecorder> trace) {
  Components out;
  out.trace = std::move(trace);
  out.device = std::move(device);
  out.compute = out.device->new_queue(QueueKind::kCompute);
  // Before the pool, whose heaps take what the limit leaves.
  out.blit = try_start(config, config.blit_queue.enabled, "blit queue", "blocking copies", [&] {
    const auto budget = [device = out.device.get(), limit](uint64_t bytes) {
      check_staging(*device, limit, bytes);
    };
    out.transfers = std::make_unique<runtime::BlitQueue>(out.device, config.blit_queue, budget);
  });
  if (!out.blit) out.transfers = std::make_unique<runtime::DirectBlit>(out.device);
  out.pool =
      try_start(config, config.memory_pool.enabled, "memory pool", "on-demand allocation", [&] {
        out.allocator =
            std::make_unique<runtime::MemoryPool>(out.device, config.memory_pool, limit);
      });
  if (!out.pool) out.allocator = std::make_unique<runtime::DirectAllocator>(out.device, limit);
  if (!config.memory_pool.allocation_log.empty()) {
    out.allocator = std::make_unique<runtime::LoggingAllocator>(std::move(out.allocator),
                                                                config.memory_pool.allocation_log);
  }
  try_start(config, config.command_buffer_ring.enabled, "command ring", "one step at a time", [&] {
    out.ring =
        std::make_unique<runtime::CommandRing>(out.device, out.compute, config.command_buffer_ring);
  });
  if (out.trace) {
    out.trace->align(out.device->clock_ns());
    out.transfers->set_trace(out.trace);
    if (out.ring) out.ring->set_trace(out.trace);
  }
  return out;
}

}  // namespace krserve::engine
