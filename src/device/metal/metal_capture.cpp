#include "device/metal/metal_capture.h"

#include <filesystem>

#include "base/error.h"
#include "base/log.h"
#include "device/metal/metal_errors.h"

namespace krserve {

MetalCapture::MetalCapture(metal::MTLDevice& device, const MetalDeviceOptions& options)
    : device_(device),
      file_(options.capture_file),
      first_(options.capture_skip),
      last_(first_ + options.capture_count) {
  if (file_.empty()) return;
  const metal::AutoreleaseScope scope;
  if (!metal::MTLCaptureManager::shared()->supports(metal::MTLCaptureDestination::kTraceDocument)) {
    throw DeviceError("metal_device.capture",
                      "Metal writes no trace; set MTL_CAPTURE_ENABLED=1 in the environment, or "
                      "leave metal_device.capture_file empty");
  }
  if (std::filesystem::exists(file_)) {
    throw_error<DeviceError>("metal_device.capture", "{} is there already; name another file",
                             file_);
  }
}

MetalCapture::~MetalCapture() {
  if (running_) stop();
}

void MetalCapture::before_commit() {
  if (!file_.empty() && commits_ == first_ && !running_) start();
}

void MetalCapture::after_commit() {
  if (++commits_ >= last_ && running_) stop();
}

// A trace that cannot be had costs nobody his step.
void MetalCapture::start() {
  const metal::AutoreleaseScope scope;
  const auto descriptor = metal::make_object<metal::MTLCaptureDescriptor>();
  descriptor->set_capture_object(&device_);
  descriptor->set_destination(metal::MTLCaptureDestination::kTraceDocument);
  descriptor->set_output_url(metal::NSURL::file(file_));
  metal::NSError* error = nullptr;
  running_ = metal::MTLCaptureManager::shared()->start(descriptor.get(), &error);
  if (!running_) {
    log().error("[metal_device.capture] {}: {}", file_, metal_error_text(error));
    return;
  }
  log().info("[metal_device.capture] {} command buffers go to {}", last_ - first_, file_);
}

void MetalCapture::stop() {
  const metal::AutoreleaseScope scope;
  metal::MTLCaptureManager::shared()->stop();
  running_ = false;
  log().info("[metal_device.capture] {} is written", file_);
}

}  // namespace krserve
