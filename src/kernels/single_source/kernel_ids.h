// The list of single-source kernels, and the number by which the host names each.
#pragma once

#include "kernels/dialect/language.h"

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

// All kernels in the order of KernelId, each as KR_HANDLE(the name given to KR_KERNEL).
#define KR_ADDRESS_OF_MATMUL(format, rows) KR_HANDLE(kr_matmul_##format##_##rows),
#define KR_ADDRESS_OF_ATTENTION(type, dim, heads) KR_HANDLE(kr_attention_##type##_##dim##_##heads),
#define KR_ALL_KERNELS                                                                      \
  KR_HANDLE(kr_embed_rows), KR_HANDLE(kr_rms_norm), KR_HANDLE(kr_rope_kv_write),            \
      KR_HANDLE(kr_silu_mul), KR_HANDLE(kr_gather_rows), KR_HANDLE(kr_count_tokens),        \
      KR_HANDLE(kr_sample), KR_HANDLE(kr_read_bandwidth), KR_HANDLE(kr_copy_bytes),         \
      KR_HANDLE(kr_fill_bytes),                                                             \
      KR_MATMUL_FORMATS(KR_ADDRESS_OF_MATMUL, 1) KR_MATMUL_FORMATS(KR_ADDRESS_OF_MATMUL, 8) \
          KR_ATTENTION_SHAPES(KR_ADDRESS_OF_ATTENTION, F32)                                 \
              KR_ATTENTION_SHAPES(KR_ADDRESS_OF_ATTENTION, F16)                             \
                  KR_ATTENTION_SHAPES(KR_ADDRESS_OF_ATTENTION, BF16)

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
  kCopyBytes,
  kFillBytes,
#define KR_ID(format, rows) kMatmul##format##Rows##rows,
  KR_MATMUL_FORMATS(KR_ID, 1) KR_MATMUL_FORMATS(KR_ID, 8)
#undef KR_ID
#define KR_ID(type, dim, heads) kAttention##type##Dim##dim##Heads##heads,
      KR_ATTENTION_SHAPES(KR_ID, F32) KR_ATTENTION_SHAPES(KR_ID, F16)
          KR_ATTENTION_SHAPES(KR_ID, BF16)
#undef KR_ID
              kKernelCount,
};

KR_CONST uint32_t kKernelCount = static_cast<uint32_t>(KernelId::kKernelCount);

}  // namespace krserve::kernels::single_source
