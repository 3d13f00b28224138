// The part of CUDA that krserve calls: the runtime library, and what only the driver has.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <string>

namespace krserve {

// "cudaErrorIllegalAddress (700: an illegal memory access was encountered)".
std::string cuda_error_text(cudaError_t code);

// cuStreamWriteValue64: writes a word of pinned host memory in the order of a stream, after a fence
// for the whole system. Null where the device or its driver cannot.
using StreamWriteValue64 = CUresult (*)(CUstream, CUdeviceptr, cuuint64_t, unsigned int);
StreamWriteValue64 find_stream_write_value(int ordinal);

}  // namespace krserve
