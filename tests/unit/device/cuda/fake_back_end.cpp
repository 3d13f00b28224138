#include "device/cuda/cuda_device.h"
#include "fake_runtime.h"
#include "parity/parity.h"

namespace krserve::parity {
namespace {

BackEnd cuda(const char* name, bool stream_memory_operations) {
  return {name, [stream_memory_operations] {
            fake_cuda::Options options;
            options.stream_memory_operations = stream_memory_operations;
            fake_cuda::Runtime::get().reset(options);
            return make_cuda_device();
          }};
}

INSTANTIATE_TEST_SUITE_P(CudaWithoutGpu, Parity,
                         ::testing::Values(cuda("Words", true), cuda("Events", false)), name_of);

}  // namespace
}  // namespace krserve::parity
