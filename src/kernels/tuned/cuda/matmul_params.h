// Parameters of the matmul kernels, shared by the kernels and the planner.
#pragma once

#include <cstdint>

#include "kernels/ops/types.h"

namespace krserve::kernels::cuda {

inline constexpr uint32_t kChunk = 128;  // weights of a row that are taken together

constexpr uint32_t chunks_of(uint32_t k) {
  return (k + kChunk - 1) / kChunk;
}
// Halves of a prepared row: whole chunks, zeros past k.
constexpr uint32_t padded_k(uint32_t k) {
  return chunks_of(k) * kChunk;
}

struct Matrix {
  const uint8_t* data;
  const uint8_t* scales;
  const uint8_t* biases;
  const float* bias;  // f32 [n]; may be null
  float* y;           // f32 [rows, n]
  uint32_t n;
};

// What all matrices of a launch share.
struct MatrixShape {
  uint32_t k;
  uint32_t group_shift;  // log2 of the group size
  ops::FloatType scale_type;
};

inline constexpr uint32_t kMaxMatrices = 3;  // q, k and v

struct MatmulParams {
  Matrix matrices[kMaxMatrices];
  uint32_t tiles_end[kMaxMatrices];  // tiles of this matrix and those before
  MatrixShape shape;
  const uint32_t* row_count;  // in the step's header
  uint32_t accumulate;        // y += instead of y =
  uint32_t gated;             // y0 = silu(W0 x) * (W1 x); nothing is written to y1
};

// Rows up to this many go through the kernel that streams weights past them (matmul_stream.cu).
inline constexpr uint32_t kStreamRows = 8;

struct StreamParams {
  MatmulParams matmul;
  uint32_t tiles;
  // One row, prepared by every block for itself:
  const float* x;
  const float* norm_weight;  // null: x as it is
  float* normed;             // written once; may be null
  float eps;
  // Or rows prepared before:
  const uint16_t* halves;  // [rows, padded k]
  const float* unscale;    // [rows]
  uint32_t capacity;       // rows, <= kStreamRows
};

struct TiledParams {
  MatmulParams matmul;
  const uint16_t* halves;  // [rows, padded k]
  const float* unscale;    // [rows]
  uint32_t splits;         // blocks that share a tile's slices: 1, 2, 4 or 8
  void* partials;          // float4 [tile][slice][fragment]; null with one split
  uint32_t* arrivals;      // [tile], zero between launches
};

// What is made of a row of x before it is converted.
enum class RowSource : uint32_t {
  kPlain,  // x
  kNorm,   // x / rms(x) * other, other f32 [k]
  kSilu,   // silu(x) * other, other f32 [rows, k]
};

struct PrepareParams {
  const uint32_t* row_count;
  const float* x;      // [rows, k]
  const float* other;  // norm weight [k], or up [rows, k]
  float* values;       // f32 result [rows, k]; may be null
  uint16_t* halves;    // [rows, padded k]; may be null
  float* unscale;      // [rows]
  uint32_t k;
  float eps;
};

}  // namespace krserve::kernels::cuda
