// Device times on the host's clock: what lies between two events is exact, and anchors, events
// whose host time was measured, tell where that is.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "device/cuda/cuda_api.h"

namespace krserve {

struct CudaAnchor {
  CudaAnchor() = default;
  CudaAnchor(const CudaAnchor&) = delete;
  CudaAnchor& operator=(const CudaAnchor&) = delete;
  ~CudaAnchor();

  // Host time of an event that was recorded after the anchor and has completed.
  std::optional<uint64_t> host_ns_of(cudaEvent_t later) const;

  cudaEvent_t event = nullptr;
  uint64_t host_ns = 0;
  double rate = 0;  // the host's clock runs faster than the device's by this fraction
};

// Not thread-safe.
class CudaClock {
 public:
  // Throws DeviceError.
  CudaClock();
  ~CudaClock();
  CudaClock(const CudaClock&) = delete;
  CudaClock& operator=(const CudaClock&) = delete;

  // One from the last second, for events recorded from now on: elapsed times are floats and lose
  // their microseconds over long spans. Every half second this takes some 10 us.
  std::shared_ptr<const CudaAnchor> anchor();
  // With nothing else on it.
  cudaStream_t stream() const { return stream_; }

 private:
  cudaError_t measure(uint64_t patience_ns, std::shared_ptr<CudaAnchor>& out, uint64_t& window_ns);
  void connect(CudaAnchor& next);

  cudaStream_t stream_ = nullptr;
  std::shared_ptr<const CudaAnchor> current_;
  double drift_ = 0;
  uint64_t next_ns_ = 0;
};

}  // namespace krserve
