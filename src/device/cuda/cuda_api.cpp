#include "device/cuda/cuda_api.h"

#include <fmt/format.h>

namespace krserve {
namespace {

// The driver is not linked: a machine without one can still load the program and say so.
void* driver_function(const char* name) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
#if CUDART_VERSION >= 12050
  const cudaError_t code =
      cudaGetDriverEntryPointByVersion(name, &function, 12000, cudaEnableDefault, &found);
#else
  const cudaError_t code = cudaGetDriverEntryPoint(name, &function, cudaEnableDefault, &found);
#endif
  if (code == cudaSuccess && found == cudaDriverEntryPointSuccess) return function;
  cudaGetLastError();
  return nullptr;
}

}  // namespace

std::string cuda_error_text(cudaError_t code) {
  return fmt::format("{} ({}: {})", cudaGetErrorName(code), static_cast<int>(code),
                     cudaGetErrorString(code));
}

StreamWriteValue64 find_stream_write_value(int ordinal) {
  using GetAttribute = CUresult (*)(int*, CUdevice_attribute, CUdevice);
  const auto get_attribute =
      reinterpret_cast<GetAttribute>(driver_function("cuDeviceGetAttribute"));
  int supported = 0;
  // The ordinals of the runtime and of the driver are the same.
  if (!get_attribute ||
      get_attribute(&supported, CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS, ordinal) !=
          CUDA_SUCCESS ||
      supported == 0) {
    return nullptr;
  }
  return reinterpret_cast<StreamWriteValue64>(driver_function("cuStreamWriteValue64"));
}

}  // namespace krserve
