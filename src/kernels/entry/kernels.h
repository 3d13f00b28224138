// The kernels of the dialect: a function for each KernelId. Included once by each compiler's entry
// file, which maps the numbers to the functions.
#pragma once

#include "kernels/single_source/copy_bytes.h"
#include "kernels/single_source/count_tokens.h"
#include "kernels/single_source/embed_rows.h"
#include "kernels/single_source/gather_rows.h"
#include "kernels/single_source/kernel_ids.h"
#include "kernels/single_source/matmul.h"
#include "kernels/single_source/paged_attention.h"
#include "kernels/single_source/read_bandwidth.h"
#include "kernels/single_source/rms_norm.h"
#include "kernels/single_source/rope_kv_write.h"
#include "kernels/single_source/sample.h"
#include "kernels/single_source/silu_mul.h"

// Global: names that Metal looks up are then the plain ones.
using namespace krserve::kernels;                 // NOLINT(google-build-using-namespace)
using namespace krserve::kernels::single_source;  // NOLINT(google-build-using-namespace)

KR_KERNEL(kr_embed_rows, kRowThreads, embed_rows_body(params, self);)

KR_KERNEL(kr_rms_norm, kRowThreads, KR_SHARED(float, part, kMaxSimds);
          rms_norm_body(params, self, part);)

KR_KERNEL(kr_rope_kv_write, kRopeSimds* kLanes, rope_kv_write_body(params, self);)

KR_KERNEL(kr_silu_mul, kRowThreads, silu_mul_body(params, self);)

KR_KERNEL(kr_gather_rows, kRowThreads, gather_rows_body(params, self);)

KR_KERNEL(kr_count_tokens, kRowThreads, KR_SHARED(uint32_t, part, kMaxSimds);
          count_tokens_body(params, self, part);)

KR_KERNEL(kr_sample, kSampleThreads, KR_SHARED(uint32_t, table, kSampleTableWords);
          KR_SHARED(uint32_t, part, kSamplePartWords); sample_body(params, self, table, part);)

KR_KERNEL(kr_read_bandwidth, kRowThreads, KR_SHARED(uint32_t, part, kMaxSimds);
          read_bandwidth_body(params, self, part);)

KR_KERNEL(kr_copy_bytes, kRowThreads, copy_bytes_body(params, self);)

KR_KERNEL(kr_fill_bytes, kRowThreads, fill_bytes_body(params, self);)

using MatrixF32 = FloatMatrix<float>;
using MatrixF16 = FloatMatrix<kr_half>;
using MatrixBF16 = FloatMatrix<kr_bfloat>;
using MatrixQ4F32 = QuantizedMatrix<4, float>;
using MatrixQ4F16 = QuantizedMatrix<4, kr_half>;
using MatrixQ4BF16 = QuantizedMatrix<4, kr_bfloat>;
using MatrixQ8F32 = QuantizedMatrix<8, float>;
using MatrixQ8F16 = QuantizedMatrix<8, kr_half>;
using MatrixQ8BF16 = QuantizedMatrix<8, kr_bfloat>;

#define KR_MATMUL_ONE(format, rows)                            \
  KR_KERNEL(kr_matmul_##format##_##rows, kMatmulSimds* kLanes, \
            matmul_body<Matrix##format, 1, kMatmulOutputsOfOneRow>(params, self);)
#define KR_MATMUL_MANY(format, rows)                           \
  KR_KERNEL(kr_matmul_##format##_##rows, kMatmulSimds* kLanes, \
            matmul_body<Matrix##format, kMatmulRows, kMatmulOutputs>(params, self);)
KR_MATMUL_FORMATS(KR_MATMUL_ONE, 1)
KR_MATMUL_FORMATS(KR_MATMUL_MANY, 8)

using CacheF32 = float;
using CacheF16 = kr_half;
using CacheBF16 = kr_bfloat;

#define KR_ATTENTION(type, dim, heads)                                        \
  KR_KERNEL(kr_attention_##type##_##dim##_##heads, kAttentionSimds* kLanes,   \
            KR_SHARED(float, memory, (AttentionMemory<dim, heads>::kFloats)); \
            KR_SHARED(uint64_t, tokens, kAttentionSimds* kLanes);             \
            KR_SHARED(uint32_t, part, kMaxSimds);                             \
            paged_attention_body<Cache##type, dim, heads>(params, self, memory, tokens, part);)
KR_ATTENTION_SHAPES(KR_ATTENTION, F32)
KR_ATTENTION_SHAPES(KR_ATTENTION, F16)
KR_ATTENTION_SHAPES(KR_ATTENTION, BF16)
