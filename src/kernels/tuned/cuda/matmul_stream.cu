// matmul for up to eight rows: the weights stream past them once, at the memory's speed.
//
// A block is eight warps, one for each slice of K. It takes tiles of 16 or 32 outputs in turn; its
// loads run ahead across tiles, and before the launch it depends on has ended.
#include "kernels/tuned/cuda/matmul_kernels.h"
#include "kernels/tuned/cuda/rows.cuh"

namespace krserve::kernels::cuda {
namespace {

// Chunks of weights on their way, per warp: as many as the registers hold.
template <WeightFormat kFormat, uint32_t kTiles>
constexpr uint32_t kDepth = kFormat == WeightFormat::kQ4                  ? 4 / kTiles
                            : kFormat == WeightFormat::kQ8 || kTiles == 1 ? 2 / kTiles
                                                                          : 1;

// Shared memory: prepared rows, then two buffers of sums.
__host__ __device__ constexpr uint32_t row_stride_bytes(uint32_t k) {
  return padded_k(k) * 2 + 64;  // + 64: eight lanes read from 32 different banks
}

struct TileRow {
  uint32_t matrix;
  uint32_t row;
};

template <uint32_t kTiles>
__device__ __forceinline__ TileRow first_row(const MatmulParams& p, uint32_t tile, uint32_t part) {
  if (p.gated) return {part, tile * 16};
  uint32_t m = 0;
  while (tile >= p.tiles_end[m]) ++m;
  const uint32_t before = m == 0 ? 0 : p.tiles_end[m - 1];
  return {m, (tile - before) * 16 * kTiles + part * 16};
}

// The rows of a warp's tile, and what it multiplies.
template <WeightFormat kFormat, uint32_t kTiles>
struct TileRows {
  RowPair<kFormat> pairs[kTiles];

  __device__ __forceinline__ void set(const MatmulParams& p, uint32_t tile, uint32_t lane) {
#pragma unroll
    for (uint32_t i = 0; i < kTiles; ++i) {
      const TileRow first = first_row<kTiles>(p, tile, i);
      pairs[i].set(p.matrices[first.matrix], p.shape, first.row, lane);
    }
  }
};

template <WeightFormat kFormat, uint32_t kTiles>
struct Chunk {
  RawChunk<kFormat> raw[kTiles];

  __device__ __forceinline__ void load(const TileRows<kFormat, kTiles>& rows,
                                       const MatrixShape& shape, uint32_t chunk, uint32_t lane) {
#pragma unroll
    for (uint32_t i = 0; i < kTiles; ++i) {
      raw[i].template load<true>(rows.pairs[i], shape, chunk, lane % 4);
    }
  }

  __device__ __forceinline__ void multiply(float (&sums)[kTiles][4], FloatType scale_type,
                                           const char* x) const {
#pragma unroll
    for (uint32_t u = 0; u < kUnits; ++u) {
      const uint4 b = *reinterpret_cast<const uint4*>(x + u * 64);
#pragma unroll
      for (uint32_t i = 0; i < kTiles; ++i) {
        uint32_t first[4], second[4];
        raw[i].unpack(u, scale_type, first, second);
        mma_f16(sums[i], first, b.x, b.y);
        mma_f16(sums[i], second, b.z, b.w);
      }
    }
  }
};

// y of one output from the sums of its slices.
__device__ __forceinline__ float add_slices(const float* sums, uint32_t stride, float unscale,
                                            const float* bias, uint32_t row) {
  float total = 0;
#pragma unroll
  for (uint32_t s = 0; s < kSlices; ++s) total = __fadd_rn(total, sums[s * stride]);
  total = __fmul_rn(total, unscale);
  return bias ? __fadd_rn(total, bias[row]) : total;
}

template <uint32_t kTiles>
__device__ __forceinline__ void write_tile(const MatmulParams& p, uint32_t tile, uint32_t rows,
                                           const float* sums, const float* unscale) {
  constexpr uint32_t kOutputs = 16 * kTiles;
  constexpr uint32_t kStride = kOutputs * kStreamRows;
  const uint32_t outputs = p.gated ? 16 : kOutputs;
  if (threadIdx.x >= outputs * rows) return;
  const uint32_t x_row = threadIdx.x / outputs, output = threadIdx.x % outputs;
  const TileRow first = first_row<kTiles>(p, tile, 0);
  const Matrix& matrix = p.matrices[first.matrix];
  const uint32_t row = first.row + output;
  if (row >= matrix.n) return;
  const float* mine = sums + x_row * kOutputs + output;
  float value = add_slices(mine, kStride, unscale[x_row], matrix.bias, row);
  if (p.gated) {
    const Matrix& up = p.matrices[1];
    value = __fmul_rn(silu(value), add_slices(mine + 16, kStride, unscale[x_row], up.bias, row));
  }
  float* y = matrix.y + static_cast<size_t>(x_row) * matrix.n + row;
  *y = p.accumulate ? __fadd_rn(value, *y) : value;
}

template <WeightFormat kFormat, uint32_t kTiles, bool kPrepare>
__device__ __forceinline__ void fetch_rows(const StreamParams& p, uint32_t rows, char* x,
                                           float* unscale, float* memory) {
  const uint32_t k = p.matmul.shape.k;
  if constexpr (kPrepare) {
    const RowInput in{p.x, p.norm_weight, k, p.eps};
    half* halves = reinterpret_cast<half*>(x);
    float* values = blockIdx.x == 0 ? p.normed : nullptr;
    unscale[0] = p.norm_weight
                     ? prepare_row<kFormat, RowSource::kNorm>(in, values, halves, memory)
                     : prepare_row<kFormat, RowSource::kPlain>(in, nullptr, halves, memory);
  } else {
    const uint32_t pieces = padded_k(k) / 8;
    for (uint32_t r = 0; r < rows; ++r) {
      const auto* from = reinterpret_cast<const uint4*>(p.halves) + static_cast<size_t>(r) * pieces;
      auto* to = reinterpret_cast<uint4*>(x + r * row_stride_bytes(k));
      for (uint32_t i = threadIdx.x; i < pieces; i += blockDim.x) to[i] = from[i];
    }
    if (threadIdx.x < rows) unscale[threadIdx.x] = p.unscale[threadIdx.x];
  }
}

template <WeightFormat kFormat, uint32_t kTiles, bool kPrepare>
__global__ void __launch_bounds__(256, 2) stream_kernel(const __grid_constant__ StreamParams p) {
  constexpr uint32_t kRing = kDepth<kFormat, kTiles>;
  constexpr uint32_t kOutputs = 16 * kTiles;
  constexpr uint32_t kStride = kOutputs * kStreamRows;
  extern __shared__ uint4 dynamic[];
  __shared__ float sums[2][kSlices * kStride];
  __shared__ float unscale[kStreamRows], memory[16];
  const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const uint32_t chunks = chunks_of(p.matmul.shape.k);
  const uint32_t begin = slice_begin(warp, chunks), mine = slice_begin(warp + 1, chunks) - begin;
  const uint32_t tiles = (p.tiles - blockIdx.x + gridDim.x - 1) / gridDim.x;
  const uint32_t total = tiles * mine;

  // The place of the next load: tile and chunk of its slice.
  uint32_t load_tile = blockIdx.x, load_chunk = 0, loaded = 0;
  Chunk<kFormat, kTiles> ring[kRing];
  TileRows<kFormat, kTiles> load_rows;
  load_rows.set(p.matmul, load_tile, lane);
  const auto load_next = [&](Chunk<kFormat, kTiles>& to) {
    if (loaded >= total) return;
    if (load_chunk == mine) {
      load_chunk = 0;
      load_tile += gridDim.x;
      load_rows.set(p.matmul, load_tile, lane);
    }
    to.load(load_rows, p.matmul.shape, begin + load_chunk, lane);
    ++load_chunk;
    ++loaded;
  };
  let_next_begin();
#pragma unroll
  for (uint32_t d = 0; d < kRing; ++d) load_next(ring[d]);

  wait_for_previous();
  const uint32_t rows = smaller(*p.matmul.row_count, p.capacity);
  if (rows == 0) return;
  char* x = reinterpret_cast<char*>(dynamic);
  fetch_rows<kFormat, kTiles, kPrepare>(p, rows, x, unscale, memory);
  __syncthreads();

  // Lanes without a row of their own multiply another's; nobody uses the result.
  const char* x_lane = x + smaller(lane / 4, rows - 1) * row_stride_bytes(p.matmul.shape.k) +
                       begin * kChunk * 2 + lane % 4 * 16;
  uint32_t tile = blockIdx.x, chunk = 0, buffer = 0;
  float acc[kTiles][4] = {};
  const auto finish_tile = [&] {
    float* out = sums[buffer] + warp * kStride;
#pragma unroll
    for (uint32_t i = 0; i < kTiles; ++i) {
#pragma unroll
      for (uint32_t e = 0; e < 4; ++e) {
        const uint32_t x_row = lane % 4 * 2 + e % 2;
        if (x_row < rows) out[x_row * kOutputs + i * 16 + lane / 4 + e / 2 * 8] = acc[i][e];
        acc[i][e] = 0;
      }
    }
    __syncthreads();
    write_tile<kTiles>(p.matmul, tile, rows, sums[buffer], unscale);
    buffer ^= 1;
    tile += gridDim.x;
  };
  if (mine == 0) {
    for (uint32_t i = 0; i < tiles; ++i) finish_tile();
    return;
  }
  for (uint32_t base = 0; base < total; base += kRing) {
#pragma unroll
    for (uint32_t d = 0; d < kRing; ++d) {
      if (base + d >= total) break;
      ring[d].multiply(acc, p.matmul.shape.scale_type, x_lane + chunk * (kChunk * 2));
      load_next(ring[d]);
      if (++chunk == mine) {
        chunk = 0;
        finish_tile();
      }
    }
  }
}

template <WeightFormat kFormat>
const void* kernel_of(uint32_t parts, bool prepare) {
  if (parts == 1) {
    return prepare ? reinterpret_cast<const void*>(&stream_kernel<kFormat, 1, true>)
                   : reinterpret_cast<const void*>(&stream_kernel<kFormat, 1, false>);
  }
  return prepare ? reinterpret_cast<const void*>(&stream_kernel<kFormat, 2, true>)
                 : reinterpret_cast<const void*>(&stream_kernel<kFormat, 2, false>);
}

}  // namespace

uint32_t stream_shared_bytes(uint32_t k, uint32_t rows) {
  return row_stride_bytes(k) * rows;
}

const void* stream_kernel_for(ops::WeightFormat format, uint32_t parts, bool prepare) {
  switch (format) {
    case WeightFormat::kQ4:
      return kernel_of<WeightFormat::kQ4>(parts, prepare);
    case WeightFormat::kQ8:
      return kernel_of<WeightFormat::kQ8>(parts, prepare);
    case WeightFormat::kF16:
      return kernel_of<WeightFormat::kF16>(parts, prepare);
    case WeightFormat::kBF16:
      return kernel_of<WeightFormat::kBF16>(parts, prepare);
    case WeightFormat::kF32:
      break;
  }
  return nullptr;
}

}  // namespace krserve::kernels::cuda
