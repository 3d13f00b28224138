#include "parity/reference.h"

#include "device/cpu/cpu_device.h"

namespace krserve::parity {

std::vector<Content> run_reference(const std::vector<OpCall>& calls,
                                   const std::vector<Content>& contents) {
  CpuDeviceOptions options;
  options.threads = 2;
  return run_calls(*make_cpu_device(options), calls, contents);
}

}  // namespace krserve::parity
