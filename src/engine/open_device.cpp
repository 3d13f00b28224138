#include "engine/open_device.h"

namespace krserve::engine {
namespace {

MetalPath metal_path(const std::string& name) {
  if (name == "metal3") return MetalPath::kMetal3;
  if (name == "metal4") return MetalPath::kMetal4;
  return MetalPath::kAuto;
}

MetalDeviceOptions metal_options(const MetalConfig& config) {
  MetalDeviceOptions options;
  options.path = metal_path(config.path);
  options.library_file = config.library;
  options.command_buffer_budget = std::chrono::milliseconds(config.command_buffer_budget_ms);
  options.keep_resident = std::chrono::seconds(config.keep_resident_s);
  options.capture_file = config.capture_file;
  options.capture_skip = static_cast<uint32_t>(config.capture_skip);
  options.capture_count = static_cast<uint32_t>(config.capture_count);
  return options;
}

}  // namespace

std::shared_ptr<Device> open_device(const RuntimeConfig& config) {
  DeviceOptions options;
  options.backend = config.engine.device;
  options.threads = static_cast<uint32_t>(config.engine.threads);
  options.metal = metal_options(config.metal_device);
  return make_device(options);
}

}  // namespace krserve::engine
