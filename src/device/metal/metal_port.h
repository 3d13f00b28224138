// How a queue's programs reach Metal: one implementation for Metal 4, one for Metal 3.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device/metal/metal_errors.h"
#include "device/metal/metal_program.h"

namespace krserve {

// A value of a queue's shared event.
struct MetalEventPoint {
  const metal::MTLEvent* event = nullptr;
  uint64_t value = 0;
};

// How one of Metal's command buffers ended. Times are of the host's clock.
struct MetalEnd {
  MetalFault fault = MetalFault::kNone;
  std::string error;  // Metal's words
  uint64_t start_ns = 0;
  uint64_t end_ns = 0;
};

struct MetalWork {
  const MetalProgram* program = nullptr;
  std::string_view label;
  std::span<const MetalPiece> pieces;
  std::span<const MetalEventPoint> waits;  // before the first piece
  uint64_t first_value = 0;  // of the event at the first piece's end; each has the next one
  // On a thread of Metal's, once for each piece, in any order. Must not throw.
  std::function<void(size_t piece, const MetalEnd& end)> ended;
};

// Work is carried out in the order of its commits, one piece after the other. Not thread-safe.
class MetalPort {
 public:
  MetalPort() = default;
  MetalPort(const MetalPort&) = delete;
  MetalPort& operator=(const MetalPort&) = delete;
  virtual ~MetalPort() = default;

  // Metal's command buffers that may be in flight.
  static constexpr size_t kMaxInFlight = 192;

  // Raised to a piece's value when the GPU is done with it, well or not.
  virtual metal::MTLSharedEvent& event() = 0;
  // The port must outlive the work. Throws DeviceError; then nothing has been committed.
  virtual void commit(MetalWork work) = 0;
  // Both throw DeviceError.
  static std::unique_ptr<MetalPort> make(const std::shared_ptr<MetalContext>& context);
};

std::unique_ptr<MetalPort> make_metal3_port(const std::shared_ptr<MetalContext>& context);
std::unique_ptr<MetalPort> make_metal4_port(const std::shared_ptr<MetalContext>& context);

}  // namespace krserve
