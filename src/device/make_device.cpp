#include "base/error.h"
#include "device/cpu/cpu_device.h"
#include "device/cuda/cuda_device.h"
#include "device/device.h"
#include "device/metal/metal_device.h"

namespace krserve {

std::shared_ptr<Device> make_device(const DeviceOptions& options) {
  const bool any = options.backend == "auto";
  if (options.backend == "cuda" || (any && has_cuda_device())) return make_cuda_device();
  if (options.backend == "metal" || (any && has_metal_device())) {
    return make_metal_device(options.metal);
  }
  if (options.backend == "cpu" || any) {
    CpuDeviceOptions cpu;
    cpu.threads = options.threads;
    return make_cpu_device(cpu);
  }
  throw_error<ConfigError>("device.open", "unknown device '{}'; use auto, cpu, cuda or metal",
                           options.backend);
}

}  // namespace krserve
