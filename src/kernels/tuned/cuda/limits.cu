// Lets the kernels use all of a block's shared memory that the device has, and gives all of them
// the same division of it from the cache: a multiprocessor that must change it waits until it is
// empty.
#include "kernels/cuda_kernels.h"
#include "kernels/entry/cuda_kernels.h"
#include "kernels/tuned/cuda/attention_params.h"
#include "kernels/tuned/cuda/matmul_kernels.h"
#include "kernels/tuned/cuda/rope_params.h"

namespace krserve::kernels::cuda {
namespace {

cudaError_t allow_shared(const void* kernel, const GpuFacts& facts) {
  if (!kernel) return cudaSuccess;
  cudaFuncAttributes attributes{};
  cudaError_t code = cudaFuncGetAttributes(&attributes, kernel);
  if (code != cudaSuccess) return code;
  const int most =
      static_cast<int>(facts.max_shared_bytes) - static_cast<int>(attributes.sharedSizeBytes);
  code = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most);
  if (code != cudaSuccess) return code;
  return cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                              cudaSharedmemCarveoutMaxShared);
}

}  // namespace

int prepare_kernels(const GpuFacts& facts) {
  cudaError_t code = cudaSuccess;
  const auto allow = [&](const void* kernel) {
    if (code == cudaSuccess) code = allow_shared(kernel, facts);
  };
  using ops::FloatType;
  using ops::WeightFormat;
  for (const WeightFormat format :
       {WeightFormat::kQ4, WeightFormat::kQ8, WeightFormat::kF16, WeightFormat::kBF16}) {
    for (const uint32_t parts : {1U, 2U}) {
      allow(stream_kernel_for(format, parts, false));
      allow(stream_kernel_for(format, parts, true));
    }
    for (const RowSource source : {RowSource::kPlain, RowSource::kNorm, RowSource::kSilu}) {
      allow(prepare_kernel_for(format, source, false));
      allow(prepare_kernel_for(format, source, true));
    }
    for (const TiledRows rows : {TiledRows::k32, TiledRows::k64, TiledRows::k128}) {
      allow(tiled_kernel_for(format, rows));
      allow(warpgroup_kernel_for(format, rows));
    }
  }
  for (const FloatType type : {FloatType::kF16, FloatType::kBF16}) {
    for (const uint32_t head_dim : {64U, 128U}) {
      allow(attention_kernel_for(type, head_dim, true));
      allow(attention_kernel_for(type, head_dim, false));
    }
  }
  for (const uint32_t head_dim : {64U, 128U}) allow(rope_kernel_for(head_dim));
  for (uint32_t id = 0; id < single_source::kKernelCount; ++id) {
    allow(cuda_dialect_kernel(static_cast<single_source::KernelId>(id)));
  }
  return static_cast<int>(code);
}

}  // namespace krserve::kernels::cuda
