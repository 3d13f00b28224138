#include "device/cuda/cuda_facts.h"

#include <fmt/format.h>

#include "base/error.h"
#include "device/cuda/cuda_api.h"

namespace krserve {
namespace {

void check(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return;
  cudaGetLastError();
  throw_error<DeviceError>("cuda_device.open", "{}: {}; check the driver with nvidia-smi", call,
                           cuda_error_text(code));
}

uint32_t attribute(cudaDeviceAttr which, int ordinal) {
  int value = 0;
  check(cudaDeviceGetAttribute(&value, which, ordinal), "cudaDeviceGetAttribute");
  return static_cast<uint32_t>(value);
}

}  // namespace

std::string cuda_missing_reason() {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code == cudaSuccess && count > 0) return "";
  cudaGetLastError();
  return code == cudaSuccess ? "CUDA sees 0 devices" : cuda_error_text(code);
}

CudaFacts read_cuda_facts(int ordinal) {
  check(cudaSetDevice(ordinal), "cudaSetDevice");
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, ordinal), "cudaGetDeviceProperties");
  CudaFacts facts;
  facts.ordinal = ordinal;
  facts.memory_bytes = properties.totalGlobalMem;
  const uint32_t major = attribute(cudaDevAttrComputeCapabilityMajor, ordinal);
  const uint32_t minor = attribute(cudaDevAttrComputeCapabilityMinor, ordinal);
  facts.gpu.compute_capability = 10 * major + minor;
  facts.gpu.multiprocessors = attribute(cudaDevAttrMultiProcessorCount, ordinal);
  facts.gpu.max_shared_bytes = attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, ordinal);
  facts.name = fmt::format("{} (sm_{})", properties.name, facts.gpu.compute_capability);
  return facts;
}

}  // namespace krserve
