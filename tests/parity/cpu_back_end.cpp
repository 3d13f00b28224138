#include "device/cpu/cpu_device.h"
#include "parity/parity.h"

namespace krserve::parity {
namespace {

BackEnd cpu(uint32_t workers) {
  return {"Cpu" + std::to_string(workers), [workers] {
            CpuDeviceOptions options;
            options.threads = workers;
            return make_cpu_device(options);
          }};
}

INSTANTIATE_TEST_SUITE_P(Cpu, Parity, ::testing::Values(cpu(1), cpu(2), cpu(4)), name_of);

}  // namespace
}  // namespace krserve::parity
