// The part of CUDA that krserve calls: the runtime library, and what only the driver has.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <string>
#include <vector>

namespace krserve {

// "cudaErrorIllegalAddress (700: an illegal memory access was encountered)".
std::string cuda_error_text(cudaError_t code);

// cuStreamWriteValue64: writes a word of pinned host memory in the order of a stream, after a fence
// for the whole system. Null where the device or its driver cannot.
using StreamWriteValue64 = CUresult (*)(CUstream, CUdeviceptr, cuuint64_t, unsigned int);
StreamWriteValue64 find_stream_write_value(int ordinal);

struct CudaCopies {
  std::vector<CUdeviceptr> dst;
  std::vector<CUdeviceptr> src;
  std::vector<size_t> bytes;
};

// cuMemcpyBatchAsync (CUDA 12.8): copies in no order among each other, between device memory and
// pinned memory, in one call. Not for a stream that is captured.
class CudaCopyBatch {
 public:
  // False, and not to be called, where driver or headers do not have it.
  static CudaCopyBatch find();
  explicit operator bool() const { return function_ != nullptr; }
  cudaError_t operator()(const CudaCopies& copies, cudaStream_t stream) const;

 private:
  void* function_ = nullptr;
};

}  // namespace krserve
