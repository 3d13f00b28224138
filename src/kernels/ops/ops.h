// The list of ops: the names that a command buffer can dispatch. One header per op states its Args
// and the order of its buffers.
#pragma once

#include <cstdint>

namespace krserve::ops {

enum class Op : uint32_t {
  kEmbedRows,
  kRmsNorm,
  kMatmul,
  kRopeKvWrite,
  kPagedAttention,
  kSiluMul,
  kGatherRows,
  kCountTokens,
  kSample,
  kReadBandwidth,
  kOpCount,
};

inline constexpr uint32_t kOpCount = static_cast<uint32_t>(Op::kOpCount);

constexpr const char* op_name(Op op) {
  constexpr const char* kNames[] = {
      "embed_rows", "rms_norm",    "matmul",       "rope_kv_write", "paged_attention",
      "silu_mul",   "gather_rows", "count_tokens", "sample",        "read_bandwidth"};
  return static_cast<uint32_t>(op) < kOpCount ? kNames[static_cast<uint32_t>(op)] : "?";
}

// Most buffers one dispatch binds.
inline constexpr uint32_t kMaxBuffers = 16;
// Most bytes of Args.
inline constexpr uint32_t kMaxArgsBytes = 96;

}  // namespace krserve::ops
