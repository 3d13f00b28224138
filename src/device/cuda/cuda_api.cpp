#include "device/cuda/cuda_api.h"

#include <fmt/format.h>

namespace krserve {
namespace {

// The driver is not linked: a machine without one can still load the program and say so.
void* driver_function(const char* name, [[maybe_unused]] unsigned int version = 12000) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
#if CUDART_VERSION >= 12050
  const cudaError_t code =
      cudaGetDriverEntryPointByVersion(name, &function, version, cudaEnableDefault, &found);
#else
  const cudaError_t code = cudaGetDriverEntryPoint(name, &function, cudaEnableDefault, &found);
#endif
  if (code == cudaSuccess && found == cudaDriverEntryPointSuccess) return function;
  cudaGetLastError();
  return nullptr;
}

#if CUDA_VERSION >= 12080
// As of 12.8; 13.0 has one without the index, under the same name.
using MemcpyBatch = CUresult (*)(CUdeviceptr*, CUdeviceptr*, size_t*, size_t, CUmemcpyAttributes*,
                                 size_t*, size_t, size_t*, CUstream);
#endif

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

#if CUDA_VERSION >= 12080

CudaCopyBatch CudaCopyBatch::find() {
  CudaCopyBatch found;
  found.function_ = driver_function("cuMemcpyBatchAsync", 12080);
  return found;
}

cudaError_t CudaCopyBatch::operator()(const CudaCopies& copies, cudaStream_t stream) const {
  CUmemcpyAttributes attributes{};
  attributes.srcAccessOrder = CU_MEMCPY_SRC_ACCESS_ORDER_STREAM;
  attributes.flags = CU_MEMCPY_FLAG_PREFER_OVERLAP_WITH_COMPUTE;
  size_t first = 0;
  size_t failed = 0;
  const auto pointer = [](const auto& list) {
    return const_cast<std::remove_cvref_t<decltype(list.front())>*>(list.data());
  };
  const CUresult code = reinterpret_cast<MemcpyBatch>(function_)(
      pointer(copies.dst), pointer(copies.src), pointer(copies.bytes), copies.bytes.size(),
      &attributes, &first, 1, &failed, stream);
  return static_cast<cudaError_t>(code);  // codes up to 999 are the same in both
}

#else

CudaCopyBatch CudaCopyBatch::find() {
  return {};
}

cudaError_t CudaCopyBatch::operator()(const CudaCopies&, cudaStream_t) const {
  return cudaErrorNotSupported;
}

#endif

}  // namespace krserve
