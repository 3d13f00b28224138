#include "device/metal/metal_context.h"

#include <time.h>

#include <algorithm>

#include "base/error.h"
#include "base/units.h"
#include "device/metal/metal_lane.h"

namespace krserve {
namespace {

// The clock of Metal's times: it stands still while the machine sleeps, the host's does not.
uint64_t metal_clock_ns() {
#if defined(__APPLE__)
  return clock_gettime_nsec_np(CLOCK_UPTIME_RAW);
#else
  return now_ns();
#endif
}

}  // namespace

uint64_t host_ns_of(double metal_seconds) {
  const auto at = static_cast<uint64_t>(std::max(0.0, metal_seconds) * 1e9);
  const uint64_t metal_now = metal_clock_ns();
  const uint64_t now = now_ns();
  return metal_now >= at ? now - std::min(now, metal_now - at) : now;
}

MetalContext::MetalContext(metal::Owned<metal::MTLDevice> on, const MetalDeviceOptions& with)
    : device(std::move(on)),
      options(with),
      facts(read_metal_facts(*device.get(), with.path)),
      residency(*device.get(), facts.residency_sets, with.keep_resident),
      library(*device.get(), facts, with.library_file),
      scratch(*device.get(), residency, memory),
      capture(*device.get(), with) {}

void MetalContext::throw_if_lost(std::string_view where) {
  const std::lock_guard lock(mutex);
  throw_if_lost_locked(where);
}

void MetalContext::throw_if_lost_locked(std::string_view where) const {
  if (lost.empty()) return;
  throw_error<DeviceError>(where, "the device is lost, restart this process: {}", lost);
}

bool MetalContext::wait_until(const std::function<bool()>& over, std::chrono::nanoseconds timeout) {
  std::unique_lock lock(mutex);
  if (timeout == kNoTimeout) {
    changed.wait(lock, over);
    return true;
  }
  return changed.wait_for(lock, timeout, over);
}

void MetalContext::update(const std::function<void()>& change) {
  {
    const std::lock_guard lock(mutex);
    change();
    poll();
  }
  changed.notify_all();
}

void MetalContext::poll() {
  bool moved = true;
  while (moved && lost.empty()) {
    moved = false;
    for (MetalLane* lane : lanes) moved |= lane->retire_ended();
    for (MetalLane* lane : lanes) moved |= lane->start_ready();
  }
}

void MetalContext::lose(const std::string& why) {
  if (!lost.empty()) return;
  lost = why;
  for (MetalLane* lane : lanes) lane->fail_all(lost);
}

}  // namespace krserve
