// Collects the ops of one instruction set into its table; included once by each of its .cpp files.
#pragma once

#include "kernels/tuned/cpu/count_tokens.h"
#include "kernels/tuned/cpu/embed_rows.h"
#include "kernels/tuned/cpu/gather_rows.h"
#include "kernels/tuned/cpu/matmul.h"
#include "kernels/tuned/cpu/paged_attention.h"
#include "kernels/tuned/cpu/read_bandwidth.h"
#include "kernels/tuned/cpu/rms_norm.h"
#include "kernels/tuned/cpu/rope_kv_write.h"
#include "kernels/tuned/cpu/sample.h"
#include "kernels/tuned/cpu/silu_mul.h"
#include "kernels/tuned/cpu/tables.h"

#ifndef KR_CPU_LEVEL
#define KR_CPU_LEVEL SimdLevel::kPortable
#endif

namespace krserve::kernels::KR_CPU_ISA {

const CpuKernelTable& kernel_table();

// In the order of ops::Op.
inline constexpr CpuKernelTable kKernelTable = {{{embed_rows_tasks, embed_rows_run},
                                                 {rms_norm_tasks, rms_norm_run},
                                                 {matmul_tasks, matmul_run},
                                                 {rope_kv_write_tasks, rope_kv_write_run},
                                                 {paged_attention_tasks, paged_attention_run},
                                                 {silu_mul_tasks, silu_mul_run},
                                                 {gather_rows_tasks, gather_rows_run},
                                                 {count_tokens_tasks, count_tokens_run},
                                                 {sample_tasks, sample_run},
                                                 {read_bandwidth_tasks, read_bandwidth_run}},
                                                KR_CPU_LEVEL};

static_assert(kKernelTable.kernels[ops::kOpCount - 1].run == read_bandwidth_run);

}  // namespace krserve::kernels::KR_CPU_ISA
