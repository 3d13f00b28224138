// What the Metal device, its queues, timelines and command buffers share; one lock for all of it.
//
// No thread of its own for the work: whoever commits or signals, and Metal's threads that tell of
// an end, do what follows from it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "device/memory_counter.h"
#include "device/metal/metal_capture.h"
#include "device/metal/metal_facts.h"
#include "device/metal/metal_library.h"
#include "device/metal/metal_options.h"
#include "device/metal/metal_residency.h"
#include "device/metal/metal_scratch.h"

namespace krserve {

class MetalLane;

struct MetalContext : std::enable_shared_from_this<MetalContext> {
  // Throws DeviceError.
  MetalContext(metal::Owned<metal::MTLDevice> on, const MetalDeviceOptions& with);
  MetalContext(const MetalContext&) = delete;
  MetalContext& operator=(const MetalContext&) = delete;

  const metal::Owned<metal::MTLDevice> device;
  const MetalDeviceOptions options;
  const MetalFacts facts;
  MemoryCounter memory;
  MetalResidency residency;
  MetalLibrary library;
  MetalScratchPool scratch;
  MetalCapture capture;  // with the mutex held

  // Not with the mutex held.

  // Throws DeviceError with the reason if the device was lost.
  void throw_if_lost(std::string_view where);
  // Waits until `over`, called with the mutex held, says so; false at the time-out.
  bool wait_until(const std::function<bool()>& over, std::chrono::nanoseconds timeout);
  // Changes something with the mutex held, and does what follows from it.
  void update(const std::function<void()>& change);

  // With the mutex held.

  void throw_if_lost_locked(std::string_view where) const;
  // Ends what has ended and starts what can start.
  void poll();
  // The first reason sticks. All that was under way or waiting fails with it.
  void lose(const std::string& why);

  std::mutex mutex;
  std::condition_variable changed;  // something ended, was signalled or poisoned
  std::vector<MetalLane*> lanes;
  std::string lost;  // why; empty while all is well
};

// Nanoseconds of the host's clock (now_ns) at a time that Metal tells in seconds.
uint64_t host_ns_of(double metal_seconds);

}  // namespace krserve
