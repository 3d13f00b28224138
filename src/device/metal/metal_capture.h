// Writes a trace of the GPU's work on some command buffers, to be opened in Xcode.
#pragma once

#include <cstdint>
#include <string>

#include "device/metal/api/device.h"
#include "device/metal/metal_options.h"

namespace krserve {

// Not thread-safe.
class MetalCapture {
 public:
  // Throws DeviceError if a trace is wanted and Metal writes none, or the file is there already.
  MetalCapture(metal::MTLDevice& device, const MetalDeviceOptions& options);
  ~MetalCapture();
  MetalCapture(const MetalCapture&) = delete;
  MetalCapture& operator=(const MetalCapture&) = delete;

  // Before and after each commit of a compute queue.
  void before_commit();
  void after_commit();

 private:
  void start();
  void stop();

  metal::MTLDevice& device_;
  const std::string file_;
  const uint64_t first_;
  const uint64_t last_;
  uint64_t commits_ = 0;
  bool running_ = false;
};

}  // namespace krserve
