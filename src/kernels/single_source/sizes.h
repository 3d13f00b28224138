// Sizes that the single-source kernels and the host's launches must agree on.
#pragma once

#include "kernels/dialect/language.h"

namespace krserve::kernels::single_source {

KR_CONST uint32_t kRowThreads = 256;  // of kernels that give a threadgroup one row
KR_CONST uint32_t kSiluPiece = 4 * kRowThreads;

KR_CONST uint32_t kCopyPiece = 64 * 1024;  // bytes of a threadgroup, a multiple of 16
// Of copies and fills. Buffers: 0 destination, 1 source (copies only). The ranges do not overlap.
struct CopyBytesArgs {
  uint64_t bytes;
  uint32_t value;  // fills only: the byte, four times
};

KR_CONST uint32_t kMatmulSimds = 4;
// Outputs of a simdgroup, for the kernels of one row and of several at a time.
KR_CONST uint32_t kMatmulOutputsOfOneRow = 2;
KR_CONST uint32_t kMatmulOutputs = 4;
KR_CONST uint32_t kMatmulRows = 8;
// Which rows a launch of matmul computes: its kr_launch_value(params, 1).
enum class MatmulRows : uint32_t { kAll = 0, kPrompts = 1, kOthers = 2 };

KR_CONST uint32_t kRopeSimds = 4;  // heads of a threadgroup
KR_CONST uint32_t kMaxHeadDim = 256;

// A context is cut into at most kAttentionChunks chunks of equal length, a multiple of
// kAttentionChunkUnit positions, by its own length alone; each gives a partial result.
KR_CONST uint32_t kAttentionChunks = 32;
KR_CONST uint32_t kAttentionSimds = 4;
KR_CONST uint32_t kAttentionChunkUnit = kAttentionSimds * 32;
// Threadgroups that fill a device: a row's chunks go to several up to this number.
KR_CONST uint32_t kAttentionGroups = 256;

KR_CONST uint32_t kSampleThreads = 1024;
// Logits that one threadgroup looks through for the highest.
KR_CONST uint32_t kSampleSlice = 8192;
KR_CONST uint32_t kSampleMaxVocab = 1u << 21;

// The workspace begins with counters, zero before and after each launch; data follows.
KR_CONST uint32_t kWorkspaceCounters = 16384;
KR_CONST uint64_t kWorkspaceDataOffset = kWorkspaceCounters * sizeof(uint32_t);

// One partial result of attention: for each head, the highest score and the sum of the weights,
// then the weighted sum of the values.
constexpr uint32_t attention_partial_floats(uint32_t heads, uint32_t head_dim) {
  return heads * (2 + head_dim);
}

}  // namespace krserve::kernels::single_source
