#include "base/error.h"
#include "device/cpu/cpu_device.h"
#include "device/device.h"

namespace krserve {

std::shared_ptr<Device> make_device(const DeviceOptions& options) {
  if (options.backend == "cpu" || options.backend == "auto") {
    CpuDeviceOptions cpu;
    cpu.threads = options.threads;
    return make_cpu_device(cpu);
  }
  if (options.backend == "cuda" || options.backend == "metal") {
    throw_error<DeviceError>("device.open", "this krserve has no {} back end; use device: cpu",
                             options.backend);
  }
  throw_error<ConfigError>("device.open", "unknown device '{}'; use auto, cpu, cuda or metal",
                           options.backend);
}

}  // namespace krserve
