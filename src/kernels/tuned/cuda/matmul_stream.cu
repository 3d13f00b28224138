// matmul for up to eight rows: the weights stream past them once, at the memory's speed.
//
// A block is eight warps, one for each slice of K. It takes tiles of 16 or 32 outputs in turn; its
// loads run ahead across tiles, and before the launch it depends on has ended. They go to shared
// memory, past the first-level cache: that has not room for as much as must be on its way.
#include "kernels/tuned/cuda/rows.cuh"
#include "kernels/tuned/cuda/with_format.h"

namespace krserve::kernels::cuda {
namespace {

// Chunks of weights on their way, per warp.
template <WeightFormat kFormat, uint32_t kTiles>
constexpr uint32_t kDepth = kFormat == WeightFormat::kQ4   ? (kTiles == 1 ? 5 : 3)
                            : kFormat == WeightFormat::kQ8 ? (kTiles == 1 ? 3 : 2)
                            : kTiles == 1                  ? 2
                                                           : 1;

// 16-byte pieces of scales and biases that a thread brings for a tile, at most.
constexpr uint32_t kGroupPieces = 5;
constexpr uint32_t kNoPiece = ~0U;

// Shared memory: prepared rows, a tile's scales and biases, then each warp's chunks.
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

// Scales and biases of a tile's rows, in shared memory: [part][scales, biases][16 rows][groups].
template <WeightFormat kFormat, uint32_t kTiles>
struct TileGroups {
  static constexpr bool kQuantized = FormatTraits<kFormat>::kQuantized;

  static __device__ __forceinline__ uint32_t array_bytes(const MatrixShape& shape) {
    return (shape.k >> shape.group_shift) * 16 * sizeof(uint16_t);
  }

  static constexpr uint32_t kHeld = kQuantized ? kGroupPieces : 1;

  // What this thread brings of each tile's: which array (its low bit: biases) and where in it.
  uint32_t place[kHeld];
  uint4 held[kHeld];

  __device__ __forceinline__ void set(const MatrixShape& shape) {
    if constexpr (kQuantized) {
      const uint32_t pieces = array_bytes(shape) / 16;
#pragma unroll
      for (uint32_t i = 0; i < kHeld; ++i) {
        const uint32_t piece = threadIdx.x + i * 256;
        place[i] =
            piece < kTiles * 2 * pieces ? piece / pieces << 16 | piece % pieces * 16 : kNoPiece;
      }
    }
  }

  // The end of a matrix whose rows do not fill 16 bytes. Seldom, and so not inline: what a kernel
  // does not need pushes the next one out of the instruction cache.
  static __device__ __noinline__ uint4 load_part(const uint8_t* from, uint32_t bytes) {
    uint32_t words[4] = {};
#pragma unroll
    for (uint32_t e = 0; e < 8; ++e) {
      if (e * 2 >= bytes) continue;
      const uint32_t value = *reinterpret_cast<const uint16_t*>(from + e * 2);
      words[e / 2] |= value << e % 2 * 16;
    }
    return make_uint4(words[0], words[1], words[2], words[3]);
  }

  // By the whole block: the rows lie one after the other. Pieces past the matrix are zeros.
  __device__ __forceinline__ void fetch(const MatmulParams& p, uint32_t tile) {
    if constexpr (kQuantized) {
      const uint32_t row_bytes = array_bytes(p.shape) / 16;
      const uint8_t* arrays[kTiles][2];
      uint32_t bytes[kTiles];  // of the matrix from the tile's first row on
#pragma unroll
      for (uint32_t part = 0; part < kTiles; ++part) {
        const TileRow first = first_row<kTiles>(p, tile, part);
        const Matrix& matrix = p.matrices[first.matrix];
        arrays[part][0] = matrix.scales + first.row * row_bytes;
        arrays[part][1] = matrix.biases + first.row * row_bytes;
        bytes[part] = first.row < matrix.n ? (matrix.n - first.row) * row_bytes : 0;
      }
#pragma unroll
      for (uint32_t i = 0; i < kHeld; ++i) {
        held[i] = make_uint4(0, 0, 0, 0);
        if (place[i] == kNoPiece) break;
        const uint32_t array = place[i] >> 16, at = place[i] & 0xffff;
        const bool biases = (array & 1) != 0, second = kTiles == 2 && array >= 2;
        const uint8_t* from = biases ? arrays[0][1] : arrays[0][0];
        uint32_t end = bytes[0];
        if (second) {
          from = biases ? arrays[kTiles - 1][1] : arrays[kTiles - 1][0];
          end = bytes[kTiles - 1];
        }
        if (at + 16 <= end) {
          held[i] = load_streaming(from + at);
        } else if (at < end) {
          held[i] = load_part(from + at, end - at);
        }
      }
    }
  }

  __device__ __forceinline__ void store(const MatrixShape& shape, char* to) const {
    if constexpr (kQuantized) {
      const uint32_t pieces = kTiles * 2 * array_bytes(shape) / 16;
#pragma unroll
      for (uint32_t i = 0; i < kGroupPieces; ++i) {
        const uint32_t piece = threadIdx.x + i * 256;
        if (piece < pieces) reinterpret_cast<uint4*>(to)[piece] = held[i];
      }
    }
  }

  static __device__ __forceinline__ void read(const MatrixShape& shape, const char* from,
                                              uint32_t part, uint32_t chunk, uint32_t lane,
                                              GroupValues<kFormat>& values) {
    if constexpr (kQuantized) {
      const uint32_t groups = shape.k >> shape.group_shift;
      const auto* scales = reinterpret_cast<const uint16_t*>(from) + part * 2 * 16 * groups;
#pragma unroll
      for (uint32_t p = 0; p < FormatTraits<kFormat>::kPieces; ++p) {
        const uint32_t group = group_of<kFormat>(shape, chunk, p, lane % 4);
#pragma unroll
        for (uint32_t h = 0; h < 2; ++h) {
          const uint32_t at = (lane / 4 + h * 8) * groups + group;
          values.scale[h][p] = scales[at];
          values.bias[h][p] = scales[16 * groups + at];
        }
      }
    }
  }
};

// A lane's pieces of a warp's chunks in shared memory; each lane reads what it has copied itself.
template <WeightFormat kFormat, uint32_t kTiles>
struct WarpRing {
  static constexpr uint32_t kPieces = FormatTraits<kFormat>::kPieces;
  static constexpr uint32_t kChunkBytes = kTiles * 2 * kPieces * 512;
  static constexpr uint32_t kBytes = kDepth<kFormat, kTiles> * kChunkBytes;

  static __device__ __forceinline__ void fetch(const TileRows<kFormat, kTiles>& rows,
                                               const MatrixShape& shape, uint32_t chunk,
                                               uint32_t lane, uint32_t to) {
    constexpr uint32_t kPerPiece = kChunk / 4 / kPieces;
#pragma unroll
    for (uint32_t p = 0; p < kPieces; ++p) {
      const uint32_t k = column_of<kFormat>(shape, chunk, p, lane % 4);
#pragma unroll
      for (uint32_t i = 0; i < kTiles; ++i) {
#pragma unroll
        for (uint32_t h = 0; h < 2; ++h) {
          const RowPair<kFormat>& pair = rows.pairs[i];
          copy_async_once(to + ((i * 2 + h) * kPieces + p) * 512 + lane * 16,
                          pair.data + (pair.offset[h] + k * 16 / kPerPiece));
        }
      }
    }
  }

  static __device__ __forceinline__ void read(const char* from, uint32_t lane,
                                              RawChunk<kFormat> (&raw)[kTiles]) {
#pragma unroll
    for (uint32_t i = 0; i < kTiles; ++i) {
#pragma unroll
      for (uint32_t h = 0; h < 2; ++h) {
#pragma unroll
        for (uint32_t p = 0; p < kPieces; ++p) {
          raw[i].piece[h][p] =
              *reinterpret_cast<const uint4*>(from + ((i * 2 + h) * kPieces + p) * 512 + lane * 16);
        }
      }
    }
  }
};

template <WeightFormat kFormat, uint32_t kTiles>
__device__ __forceinline__ void multiply(float (&sums)[kTiles][4], const MatrixShape& shape,
                                         const char* weights, const char* tile_groups,
                                         uint32_t chunk, uint32_t lane, const char* x) {
  RawChunk<kFormat> raw[kTiles];
  WarpRing<kFormat, kTiles>::read(weights, lane, raw);
  GroupValues<kFormat> groups[kTiles];
#pragma unroll
  for (uint32_t i = 0; i < kTiles; ++i) {
    TileGroups<kFormat, kTiles>::read(shape, tile_groups, i, chunk, lane, groups[i]);
  }
#pragma unroll
  for (uint32_t u = 0; u < kUnits; ++u) {
    const uint4 b = *reinterpret_cast<const uint4*>(x + u * 64);
#pragma unroll
    for (uint32_t i = 0; i < kTiles; ++i) {
      uint32_t first[4], second[4];
      raw[i].unpack(u, groups[i], shape.scale_type, first, second);
      mma_f16(sums[i], first, b.x, b.y);
      mma_f16(sums[i], second, b.z, b.w);
    }
  }
}

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

// What write_tile() will read for the tile besides sums: biases, or what is added to.
template <uint32_t kTiles>
__device__ __forceinline__ void touch_outputs(const MatmulParams& p, uint32_t tile, bool biases) {
  if (threadIdx.x >= 16 * kTiles) return;
  const TileRow first = first_row<kTiles>(p, tile, threadIdx.x / 16);
  const Matrix& matrix = p.matrices[first.matrix];
  const uint32_t row = first.row + threadIdx.x % 16;
  const float* from = biases ? matrix.bias : p.accumulate ? matrix.y : nullptr;
  if (from && row < matrix.n) touch(from + row);
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
  using Groups = TileGroups<kFormat, kTiles>;
  using Ring = WarpRing<kFormat, kTiles>;
  constexpr uint32_t kRing = kDepth<kFormat, kTiles>;
  constexpr uint32_t kOutputs = 16 * kTiles;
  constexpr uint32_t kStride = kOutputs * kStreamRows;
  extern __shared__ uint4 dynamic[];
  __shared__ float sums[kSlices * kStride];
  __shared__ float unscale[kStreamRows], memory[16];
  const MatrixShape shape = p.matmul.shape;
  const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  char* x = reinterpret_cast<char*>(dynamic);
  char* groups = x + p.capacity * row_stride_bytes(shape.k);
  char* ring = groups + (Groups::kQuantized ? kTiles * 2 * Groups::array_bytes(shape) : 0) +
               warp * Ring::kBytes;
  const uint32_t chunks = chunks_of(shape.k);
  const uint32_t begin = slice_begin(warp, chunks), mine = slice_begin(warp + 1, chunks) - begin;
  const uint32_t tiles = (p.tiles - blockIdx.x + gridDim.x - 1) / gridDim.x;
  const uint32_t total = tiles * mine;

  // The place of the next load: tile and chunk of its slice, and where it goes.
  uint32_t load_tile = blockIdx.x, load_chunk = 0, loaded = 0, load_place = 0;
  TileRows<kFormat, kTiles> load_rows;
  load_rows.set(p.matmul, load_tile, lane);
  const auto load_next = [&] {
    if (loaded < total) {
      if (load_chunk == mine) {
        load_chunk = 0;
        load_tile += gridDim.x;
        load_rows.set(p.matmul, load_tile, lane);
      }
      Ring::fetch(load_rows, shape, begin + load_chunk, lane,
                  shared_address(ring) + load_place * Ring::kChunkBytes);
      load_place = load_place + 1 == kRing ? 0 : load_place + 1;
      ++load_chunk;
      ++loaded;
    }
    copy_async_commit();
  };
  let_next_begin();
#pragma unroll
  for (uint32_t d = 0; d < kRing; ++d) load_next();
  Groups tile_groups;
  tile_groups.set(shape);
  tile_groups.fetch(p.matmul, blockIdx.x);
  const uint32_t rows = smaller(*p.matmul.row_count, p.capacity);
  touch_outputs<kTiles>(p.matmul, blockIdx.x, true);
  if (kPrepare && p.norm_weight) touch_norm_weight(p.norm_weight, shape.k);

  wait_for_previous();
  if (rows == 0) {
    copy_async_wait<0>();
    return;
  }
  touch_outputs<kTiles>(p.matmul, blockIdx.x, false);
  tile_groups.store(shape, groups);
  fetch_rows<kFormat, kTiles, kPrepare>(p, rows, x, unscale, memory);
  __syncthreads();
  if (tiles > 1) tile_groups.fetch(p.matmul, blockIdx.x + gridDim.x);

  // Lanes without a row of their own multiply another's; nobody uses the result.
  const char* x_lane = x + smaller(lane / 4, rows - 1) * row_stride_bytes(shape.k) +
                       begin * kChunk * 2 + lane % 4 * 16;
  uint32_t place = 0;
  for (uint32_t i = 0, tile = blockIdx.x; i < tiles; ++i, tile += gridDim.x) {
    float acc[kTiles][4] = {};
    for (uint32_t chunk = 0; chunk < mine; ++chunk) {
      copy_async_wait<kRing - 1>();
      multiply<kFormat, kTiles>(acc, shape, ring + place * Ring::kChunkBytes, groups, begin + chunk,
                                lane, x_lane + chunk * (kChunk * 2));
      place = place + 1 == kRing ? 0 : place + 1;
      load_next();
    }
    float* out = sums + warp * kStride;
#pragma unroll
    for (uint32_t part = 0; part < kTiles; ++part) {
#pragma unroll
      for (uint32_t e = 0; e < 4; ++e) {
        const uint32_t x_row = lane % 4 * 2 + e % 2;
        if (x_row < rows) out[x_row * kOutputs + part * 16 + lane / 4 + e / 2 * 8] = acc[part][e];
      }
    }
    __syncthreads();
    if (i + 1 < tiles) tile_groups.store(shape, groups);
    write_tile<kTiles>(p.matmul, tile, rows, sums, unscale);
    __syncthreads();
    if (i + 2 < tiles) tile_groups.fetch(p.matmul, tile + 2 * gridDim.x);
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

template <WeightFormat kFormat>
uint32_t ring_bytes_of(uint32_t parts) {
  return parts == 1 ? WarpRing<kFormat, 1>::kBytes : WarpRing<kFormat, 2>::kBytes;
}

}  // namespace

uint32_t stream_shared_bytes(ops::WeightFormat format, uint32_t k, uint32_t rows,
                             uint32_t group_size, uint32_t parts) {
  const uint32_t groups = group_size > 0 ? k / group_size : 0;
  const uint32_t ring =
      with_format(format, [&](auto f) { return ring_bytes_of<decltype(f)::value>(parts); });
  return row_stride_bytes(k) * rows + parts * 2 * groups * 16 * 2 + kSlices * ring;
}

bool stream_has_room(uint32_t k, uint32_t group_size, uint32_t parts) {
  return group_size == 0 || parts * 2 * (k / group_size) * 2 <= kGroupPieces * 256;
}

const void* stream_kernel_for(ops::WeightFormat format, uint32_t parts, bool prepare) {
  return with_format(format, [&](auto f) { return kernel_of<decltype(f)::value>(parts, prepare); });
}

}  // namespace krserve::kernels::cuda
