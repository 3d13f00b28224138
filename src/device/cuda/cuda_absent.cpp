// In the place of the CUDA back end where it is not built.
#include "base/error.h"
#include "device/cuda/cuda_device.h"

namespace krserve {

bool has_cuda_device() {
  return false;
}

std::shared_ptr<Device> make_cuda_device() {
  throw DeviceError("device.open",
                    "this krserve has no cuda back end; use device: cpu, or build with the CUDA "
                    "toolkit 12.4 or newer and -DKRSERVE_CUDA=ON");
}

}  // namespace krserve
