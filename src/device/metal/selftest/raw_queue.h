// A queue of Metal's without the back end in between, to measure what Metal itself costs.
#pragma once

#include <cstdint>
#include <future>
#include <memory>

#include "device/metal/api/device.h"

namespace krserve {

// What one command buffer, which fills a few bytes, saw; on the host's clock.
struct MetalRawRun {
  uint64_t commit_ns = 0;      // before the commit
  uint64_t commit_end_ns = 0;  // after it
  uint64_t handler_ns = 0;     // the handler was called
  uint64_t start_ns = 0;       // on the GPU
  uint64_t end_ns = 0;
  std::promise<void> ended;
};

struct MetalRawEvent {
  metal::MTLSharedEvent* event = nullptr;
  uint64_t value = 0;
};

class MetalRawQueue {
 public:
  // Runs in flight at a time.
  static constexpr int kDepth = 16;

  MetalRawQueue() = default;
  MetalRawQueue(const MetalRawQueue&) = delete;
  MetalRawQueue& operator=(const MetalRawQueue&) = delete;
  virtual ~MetalRawQueue() = default;

  // Needs an autorelease pool.
  virtual std::shared_ptr<MetalRawRun> commit(MetalRawEvent wait, MetalRawEvent signal) = 0;
};

// Null where something could not be made.
std::unique_ptr<MetalRawQueue> make_metal_raw_queue(metal::MTLDevice& device, bool metal4);

}  // namespace krserve
