// The three optimizations as one engine uses them, each on or off, and what takes its place when
// off.
#pragma once

#include <memory>

#include "config/runtime_config.h"
#include "device/device.h"
#include "runtime/blit_queue/transfers.h"
#include "runtime/command_ring/command_ring.h"
#include "runtime/memory_pool/allocator.h"
#include "runtime/trace/trace.h"

namespace krserve::engine {

struct Components {
  std::shared_ptr<Device> device;
  std::shared_ptr<Queue> compute;
  std::unique_ptr<runtime::Allocator> allocator;
  std::unique_ptr<runtime::Transfers> transfers;
  std::unique_ptr<runtime::CommandRing> ring;     // null when off
  bool pool = false;                              // allocator is a MemoryPool
  bool blit = false;                              // transfers is a BlitQueue
  std::shared_ptr<runtime::TraceRecorder> trace;  // null: nothing is recorded
};

// A component that cannot start is switched off and logged at fallback_log_level, or, with
// graceful_fallback false, its error is thrown.
Components make_components(std::shared_ptr<Device> device, const MetalOptimizationsConfig& config,
                           runtime::MemoryLimit limit,
                           std::shared_ptr<runtime::TraceRecorder> trace = nullptr);

}  // namespace krserve::engine
