#include "parity/parity.h"

namespace krserve::parity {
namespace {

// Skipped where there is no GPU for it; what the device then says is tested in unit/device.
std::shared_ptr<Device> open_cuda() {
  DeviceOptions options;
  options.backend = "cuda";
  try {
    return make_device(options);
  } catch (const DeviceError& error) {
    if (error.where() == "device.open") return nullptr;
    throw;
  }
}

INSTANTIATE_TEST_SUITE_P(Cuda, Parity, ::testing::Values(BackEnd{"Cuda", open_cuda}), name_of);

}  // namespace
}  // namespace krserve::parity
