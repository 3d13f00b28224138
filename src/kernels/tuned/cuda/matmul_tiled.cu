// matmul for more than eight rows, on the tensor cores.
//
// A block makes 128 outputs of 32, 64 or 128 rows: four warps along the outputs, two along the
// rows. Weights go from memory to registers and are unpacked there; rows come through shared
// memory, a few chunks ahead. With splits, several blocks share the slices of a tile and the last
// to arrive adds their sums, in the same order as one block would.
#include "kernels/tuned/cuda/tiles.cuh"
#include "kernels/tuned/cuda/with_format.h"

namespace krserve::kernels::cuda {
namespace {

constexpr uint32_t kThreads = kTileThreads;
constexpr uint32_t kStages = 4;
constexpr uint32_t kRowBytes = kChunk * 2 + 64;  // + 64: lanes read from different banks

template <WeightFormat kFormat>
struct WarpWeights {
  RawChunk<kFormat> raw[2];
  GroupValues<kFormat> groups[2];

  __device__ __forceinline__ void load(const RowPair<kFormat> (&rows)[2], const MatrixShape& shape,
                                       uint32_t chunk, uint32_t lane) {
#pragma unroll
    for (uint32_t i = 0; i < 2; ++i) {
      raw[i].template load<false>(rows[i], shape, chunk, lane % 4);
      groups[i].load(rows[i], shape, chunk, lane % 4);
    }
  }

  template <uint32_t kTiles>
  __device__ __forceinline__ void multiply(float (&acc)[2][kTiles][4], FloatType scale_type,
                                           const char* x) const {
#pragma unroll
    for (uint32_t u = 0; u < kUnits; ++u) {
      uint32_t first[2][4], second[2][4];
#pragma unroll
      for (uint32_t i = 0; i < 2; ++i) raw[i].unpack(u, groups[i], scale_type, first[i], second[i]);
      // A sum's two products stand apart, so that the second need not wait for the first.
      constexpr uint32_t kTogether = kTiles < 4 ? kTiles : 4;
#pragma unroll
      for (uint32_t n = 0; n < kTiles; n += kTogether) {
        uint4 b[kTogether];
#pragma unroll
        for (uint32_t j = 0; j < kTogether; ++j) {
          b[j] = *reinterpret_cast<const uint4*>(x + (n + j) * 8 * kRowBytes + u * 64);
        }
#pragma unroll
        for (uint32_t j = 0; j < kTogether; ++j) {
#pragma unroll
          for (uint32_t i = 0; i < 2; ++i) mma_f16(acc[i][n + j], first[i], b[j].x, b[j].y);
        }
#pragma unroll
        for (uint32_t j = 0; j < kTogether; ++j) {
#pragma unroll
          for (uint32_t i = 0; i < 2; ++i) mma_f16(acc[i][n + j], second[i], b[j].z, b[j].w);
        }
      }
    }
  }
};

// Copies a chunk of the block's rows; rows past the end become zeros.
template <uint32_t kRows>
__device__ __forceinline__ void fetch_chunk(const TiledParams& p, uint32_t first_row, uint32_t rows,
                                            uint32_t chunk, uint32_t to) {
  const size_t padded = padded_k(p.matmul.shape.k);
#pragma unroll
  for (uint32_t i = 0; i < kRows * 16 / kThreads; ++i) {
    const uint32_t piece = threadIdx.x + i * kThreads;
    const uint32_t r = piece / 16, part = piece % 16;
    const bool valid = first_row + r < rows;
    const size_t row = valid ? first_row + r : 0;
    copy_async(to + r * kRowBytes + part * 16, p.halves + row * padded + chunk * kChunk + part * 8,
               valid);
  }
}

struct TilePlace {
  const Matrix* matrix[2];
  uint32_t row[2];  // first output of this warp's two parts
};

__device__ __forceinline__ TilePlace place_of(const MatmulParams& p, uint32_t warp_m) {
  TilePlace place;
  if (p.gated) {
    place.matrix[0] = &p.matrices[0];
    place.matrix[1] = &p.matrices[1];
    place.row[0] = place.row[1] = blockIdx.y * (kTiledOutputs / 2) + warp_m * 16;
    return place;
  }
  uint32_t m = 0;
  while (blockIdx.y >= p.tiles_end[m]) ++m;
  const uint32_t tile = blockIdx.y - (m == 0 ? 0 : p.tiles_end[m - 1]);
  place.matrix[0] = place.matrix[1] = &p.matrices[m];
  place.row[0] = tile * kTiledOutputs + warp_m * 32;
  place.row[1] = place.row[0] + 16;
  return place;
}

template <uint32_t kTiles>
__device__ __forceinline__ void add_and_clear(float (&total)[2][kTiles][4],
                                              float (&acc)[2][kTiles][4]) {
#pragma unroll
  for (uint32_t i = 0; i < 2; ++i) {
#pragma unroll
    for (uint32_t n = 0; n < kTiles; ++n) {
#pragma unroll
      for (uint32_t e = 0; e < 4; ++e) {
        total[i][n][e] = __fadd_rn(total[i][n][e], acc[i][n][e]);
        acc[i][n][e] = 0;
      }
    }
  }
}

template <uint32_t kTiles>
__device__ __forceinline__ void store_partial(float4* to, float (&acc)[2][kTiles][4]) {
#pragma unroll
  for (uint32_t i = 0; i < 2; ++i) {
#pragma unroll
    for (uint32_t n = 0; n < kTiles; ++n) {
      float(&a)[4] = acc[i][n];
      to[(i * kTiles + n) * kThreads + threadIdx.x] = make_float4(a[0], a[1], a[2], a[3]);
      a[0] = a[1] = a[2] = a[3] = 0;
    }
  }
}

template <uint32_t kTiles>
__device__ __forceinline__ void load_partial(const float4* from, float (&acc)[2][kTiles][4]) {
#pragma unroll
  for (uint32_t i = 0; i < 2; ++i) {
#pragma unroll
    for (uint32_t n = 0; n < kTiles; ++n) {
      const float4 v = __ldcg(from + (i * kTiles + n) * kThreads + threadIdx.x);
      acc[i][n][0] = v.x, acc[i][n][1] = v.y, acc[i][n][2] = v.z, acc[i][n][3] = v.w;
    }
  }
}

template <uint32_t kTiles>
__device__ __forceinline__ void write_outputs(const TiledParams& p, const TilePlace& place,
                                              uint32_t first_x_row, uint32_t rows,
                                              const float (&total)[2][kTiles][4]) {
  const uint32_t lane = threadIdx.x % 32;
#pragma unroll
  for (uint32_t n = 0; n < kTiles; ++n) {
#pragma unroll
    for (uint32_t e = 0; e < 4; ++e) {
      const uint32_t x_row = first_x_row + n * 8 + lane % 4 * 2 + e % 2;
      if (x_row >= rows) continue;
      const float unscale = p.unscale[x_row];
#pragma unroll
      for (uint32_t i = 0; i < 2; ++i) {
        const Matrix& matrix = *place.matrix[i];
        const uint32_t row = place.row[i] + lane / 4 + e / 2 * 8;
        if (row >= matrix.n || (p.matmul.gated && i == 1)) continue;
        float value = finish(total[i][n][e], unscale, matrix, row);
        if (p.matmul.gated) {
          value = __fmul_rn(silu(value), finish(total[1][n][e], unscale, *place.matrix[1], row));
        }
        float* y = matrix.y + static_cast<size_t>(x_row) * matrix.n + row;
        *y = p.matmul.accumulate ? __fadd_rn(value, *y) : value;
      }
    }
  }
}

// Registers decide: sums of 32 rows leave room for a second block.
template <WeightFormat kFormat, uint32_t kRows>
__global__ void __launch_bounds__(kThreads,
                                  kRows == 32 && FormatTraits<kFormat>::kPieces == 1 ? 2 : 1)
    tiled_kernel(const __grid_constant__ TiledParams p) {
  constexpr uint32_t kTiles = kRows / 16;  // of 8 rows, per warp
  constexpr uint32_t kStageBytes = kRows * kRowBytes;
  extern __shared__ uint4 dynamic[];
  const uint32_t stages = shared_address(dynamic);
  const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const uint32_t warp_m = warp % 4, warp_n = warp / 4;
  const TilePlace place = place_of(p.matmul, warp_m);
  const MatrixShape shape = p.matmul.shape;
  const uint32_t chunks = chunks_of(shape.k);
  const uint32_t slices = kSlices / p.splits;
  const uint32_t first_slice = blockIdx.z * slices;
  const uint32_t begin = slice_begin(first_slice, chunks);
  const uint32_t end = slice_begin(first_slice + slices, chunks);

  let_next_begin();
  // 16-bit weights take too many registers to be loaded ahead.
  constexpr bool kAhead = FormatTraits<kFormat>::kPieces <= 2;
  RowPair<kFormat> row_pairs[2];
#pragma unroll
  for (uint32_t i = 0; i < 2; ++i) row_pairs[i].set(*place.matrix[i], shape, place.row[i], lane);
  WarpWeights<kFormat> weights, next;
  if (begin < end) weights.load(row_pairs, shape, begin, lane);
  const uint32_t rows = *p.matmul.row_count;
  wait_for_previous();
  const uint32_t first_row = blockIdx.x * kRows;
  if (first_row >= rows) return;

  float acc[2][kTiles][4] = {}, total[2][kTiles][4] = {};
  const uint32_t tile = blockIdx.y * gridDim.x + blockIdx.x;
  constexpr uint32_t kPartial = 2 * kTiles * kThreads;  // float4s of a slice
  float4* partials =
      static_cast<float4*>(p.partials) + static_cast<size_t>(tile) * kSlices * kPartial;

#pragma unroll
  for (uint32_t s = 0; s < kStages - 1; ++s) {
    if (begin + s < end)
      fetch_chunk<kRows>(p, first_row, rows, begin + s, stages + s * kStageBytes);
    copy_async_commit();
  }
  const uint32_t x_offset = (warp_n * (kRows / 2) + lane / 4) * kRowBytes + lane % 4 * 16;
  uint32_t chunk = begin, stage = 0;
  for (uint32_t slice = first_slice; slice < first_slice + slices; ++slice) {
    const uint32_t slice_end = slice_begin(slice + 1, chunks);
    for (; chunk < slice_end; ++chunk) {
      copy_async_wait<kStages - 2>();
      __syncthreads();
      if (chunk + kStages - 1 < end) {
        fetch_chunk<kRows>(p, first_row, rows, chunk + kStages - 1,
                           stages + (stage + kStages - 1) % kStages * kStageBytes);
      }
      copy_async_commit();
      if (kAhead) next.load(row_pairs, shape, smaller(chunk + 1, end - 1), lane);
      if (!kAhead && chunk > begin) weights.load(row_pairs, shape, chunk, lane);
      weights.multiply(acc, shape.scale_type,
                       reinterpret_cast<const char*>(dynamic) + stage * kStageBytes + x_offset);
      if (kAhead) weights = next;
      stage = (stage + 1) % kStages;
    }
    if (p.splits == 1) {
      add_and_clear(total, acc);
    } else {
      store_partial(partials + slice * kPartial, acc);
    }
  }
  if (p.splits > 1) {
    if (!arrives_last(p.arrivals + tile, p.splits)) return;
    for (uint32_t s = 0; s < kSlices; ++s) {
      load_partial(partials + s * kPartial, acc);
      add_and_clear(total, acc);
    }
  }
  write_outputs(p, place, first_row + warp_n * (kRows / 2), rows, total);
}

template <WeightFormat kFormat, uint32_t kRows>
const void* kernel_of() {
  return reinterpret_cast<const void*>(&tiled_kernel<kFormat, kRows>);
}

}  // namespace

uint32_t tiled_shared_bytes(TiledRows rows) {
  return static_cast<uint32_t>(rows) * kRowBytes * kStages;
}

uint32_t tiled_partials(TiledRows rows) {
  return kSlices * 2 * (static_cast<uint32_t>(rows) / 16) * kThreads;
}

const void* tiled_kernel_for(ops::WeightFormat format, TiledRows rows) {
  return with_format(format, [&](auto f) {
    return with_rows(rows,
                     [](auto r) { return kernel_of<decltype(f)::value, decltype(r)::value>(); });
  });
}

}  // namespace krserve::kernels::cuda
