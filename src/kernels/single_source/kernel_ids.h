// The list of single-source kernels, and the number by which the host names each.
#pragma once

#include <cstdint>

// X(Name) per kernel: matmul by format of weights and scales, for 1 and up to 8 rows at a time;
// paged_attention by type of the cache, room for a head's dimensions, and query heads at a time.
#define KR_MATMUL_FORMATS(X, rows) \
  X(F32, rows)                     \
  X(F16, rows)                     \
  X(BF16, rows)                    \
  X(Q4F32, rows)                   \
  X(Q4F16, rows)                   \
  X(Q4BF16, rows)                  \
  X(Q8F32, rows)                   \
  X(Q8F16, rows)                   \
  X(Q8BF16, rows)

#define KR_ATTENTION_SHAPES(X, type) \
  X(type, 64, 4)                     \
  X(type, 64, 8)                     \
  X(type, 128, 4)                    \
  X(type, 128, 8)                    \
  X(type, 256, 4)

namespace krserve::kernels::single_source {

enum class KernelId : uint32_t {
  kEmbedRows,
  kRmsNorm,
  kRopeKvWrite,
  kSiluMul,
  kGatherRows,
  kCountTokens,
  kSample,
  kReadBandwidth,
#define KR_ID(format, rows) kMatmul##format##Rows##rows,
  KR_MATMUL_FORMATS(KR_ID, 1) KR_MATMUL_FORMATS(KR_ID, 8)
#undef KR_ID
#define KR_ID(type, dim, heads) kAttention##type##Dim##dim##Heads##heads,
      KR_ATTENTION_SHAPES(KR_ID, F32) KR_ATTENTION_SHAPES(KR_ID, F16)
          KR_ATTENTION_SHAPES(KR_ID, BF16)
#undef KR_ID
              kKernelCount,
};

inline constexpr uint32_t kKernelCount = static_cast<uint32_t>(KernelId::kKernelCount);

}  // namespace krserve::kernels::single_source
