// matmul for more than eight rows with Hopper's warpgroup instructions.
//
// A block makes 128 outputs of 32, 64 or 128 rows, with two warpgroups of 64 outputs. Weights go
// from memory to registers and are unpacked there; rows come through shared memory, a few chunks
// ahead. While the tensor cores work on half a chunk, the other half is unpacked. Slices and splits
// are those of matmul_tiled.cu.
#include "kernels/tuned/cuda/matmul_kernels.h"
#include "kernels/tuned/cuda/tiles.cuh"
#include "kernels/tuned/cuda/wgmma.cuh"

namespace krserve::kernels::cuda {
namespace {

constexpr uint32_t kThreads = kTileThreads;
constexpr uint32_t kStages = 4;
constexpr uint32_t kHalfRowBytes = 128;  // of a chunk's half

// Copies a chunk of the block's rows, in two halves of k; rows past the end become zeros.
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
    const uint32_t place =
        part / 8 * (kRows * kHalfRowBytes) + r * kHalfRowBytes + ((part % 8) ^ (r % 8)) * 16;
    copy_async(to + place, p.halves + row * padded + chunk * kChunk + part * 8, valid);
  }
}

// The two rows of a lane. Gated: its first is of the gate's matrix, its second of up's.
struct WarpOutputs {
  const Matrix* matrix[2];
  uint32_t row[2];
};

__device__ __forceinline__ WarpOutputs outputs_of(const MatmulParams& p, uint32_t warp,
                                                  uint32_t lane) {
  if (p.gated) {
    const uint32_t row = blockIdx.y * (kTiledOutputs / 2) + warp * 8 + lane / 4;
    return {{&p.matrices[0], &p.matrices[1]}, {row, row}};
  }
  uint32_t m = 0;
  while (blockIdx.y >= p.tiles_end[m]) ++m;
  const uint32_t tile = blockIdx.y - (m == 0 ? 0 : p.tiles_end[m - 1]);
  const uint32_t row = tile * kTiledOutputs + warp * 16 + lane / 4;
  return {{&p.matrices[m], &p.matrices[m]}, {row, row + 8}};
}

template <uint32_t kTiles>
__device__ __forceinline__ void write_outputs(const TiledParams& p, const WarpOutputs& out,
                                              uint32_t first_x_row, uint32_t rows,
                                              const float (&total)[kTiles][4]) {
#pragma unroll
  for (uint32_t n = 0; n < kTiles; ++n) {
#pragma unroll
    for (uint32_t e = 0; e < 2; ++e) {
      const uint32_t x_row = first_x_row + n * 8 + threadIdx.x % 4 * 2 + e;
      if (x_row >= rows) continue;
      const float unscale = p.unscale[x_row];
#pragma unroll
      for (uint32_t h = 0; h < 2; ++h) {
        const Matrix& matrix = *out.matrix[h];
        if (out.row[h] >= matrix.n || (p.matmul.gated && h == 1)) continue;
        float value = finish(total[n][e + h * 2], unscale, matrix, out.row[h]);
        if (p.matmul.gated) {
          const float up = finish(total[n][e + 2], unscale, *out.matrix[1], out.row[1]);
          value = __fmul_rn(silu(value), up);
        }
        float* y = matrix.y + static_cast<size_t>(x_row) * matrix.n + out.row[h];
        *y = p.matmul.accumulate ? __fadd_rn(value, *y) : value;
      }
    }
  }
}

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

template <uint32_t kTiles>
__device__ __forceinline__ void add_and_clear(float (&total)[kTiles][4], float (&acc)[kTiles][4]) {
#pragma unroll
  for (uint32_t n = 0; n < kTiles; ++n) {
#pragma unroll
    for (uint32_t e = 0; e < 4; ++e) {
      total[n][e] = __fadd_rn(total[n][e], acc[n][e]);
      acc[n][e] = 0;
    }
  }
}

template <uint32_t kTiles>
__device__ __forceinline__ void store_partial(float4* to, float (&acc)[kTiles][4]) {
#pragma unroll
  for (uint32_t n = 0; n < kTiles; ++n) {
    float(&a)[4] = acc[n];
    to[n * kThreads + threadIdx.x] = make_float4(a[0], a[1], a[2], a[3]);
    a[0] = a[1] = a[2] = a[3] = 0;
  }
}

template <uint32_t kTiles>
__device__ __forceinline__ void load_partial(const float4* from, float (&acc)[kTiles][4]) {
#pragma unroll
  for (uint32_t n = 0; n < kTiles; ++n) {
    const float4 v = __ldcg(from + n * kThreads + threadIdx.x);
    acc[n][0] = v.x, acc[n][1] = v.y, acc[n][2] = v.z, acc[n][3] = v.w;
  }
}

// Operands of the four steps of half a chunk.
template <WeightFormat kFormat>
__device__ __forceinline__ void unpack_half(const RawChunk<kFormat>& raw, uint32_t half,
                                            FloatType scale_type, uint32_t (&steps)[4][4]) {
  raw.unpack(half * 2, scale_type, steps[0], steps[1]);
  raw.unpack(half * 2 + 1, scale_type, steps[2], steps[3]);
}

template <uint32_t kRows>
__device__ __forceinline__ void multiply_half(float (&acc)[kRows / 8][4],
                                              const uint32_t (&steps)[4][4], uint64_t rows) {
  wgmma_fence();
#pragma unroll
  for (uint32_t s = 0; s < 4; ++s) wgmma<kRows>(acc, steps[s], rows + s * (32 >> 4));
  wgmma_commit();
}

template <WeightFormat kFormat, uint32_t kRows>
__device__ __forceinline__ void run_tile(const TiledParams& p) {
  constexpr uint32_t kTiles = kRows / 8;
  constexpr uint32_t kHalfBytes = kRows * kHalfRowBytes, kStageBytes = 2 * kHalfBytes;
  extern __shared__ uint4 dynamic[];
  const uint32_t stages = (shared_address(dynamic) + 1023) / 1024 * 1024;
  const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const WarpOutputs outputs = outputs_of(p.matmul, warp, lane);
  const MatrixShape shape = p.matmul.shape;
  const uint32_t chunks = chunks_of(shape.k);
  const uint32_t slices = kSlices / p.splits, first_slice = blockIdx.z * slices;
  const uint32_t begin = slice_begin(first_slice, chunks);
  const uint32_t end = slice_begin(first_slice + slices, chunks);
  RowsOfTwo<kFormat> weights;
#pragma unroll
  for (uint32_t h = 0; h < 2; ++h) weights.set(h, *outputs.matrix[h], shape, outputs.row[h]);

  let_next_begin();
  RawChunk<kFormat> raw, next;
  if (begin < end) raw.template load<false>(weights, shape, begin, lane % 4);
  wait_for_previous();
  const uint32_t rows = *p.matmul.row_count;
  const uint32_t first_row = blockIdx.x * kRows;
  if (first_row >= rows) return;

  float acc[kTiles][4] = {}, total[kTiles][4] = {};
  const uint32_t tile = blockIdx.y * gridDim.x + blockIdx.x;
  constexpr uint32_t kPartial = kTiles * kThreads;  // float4s of a slice
  float4* partials =
      static_cast<float4*>(p.partials) + static_cast<size_t>(tile) * kSlices * kPartial;
#pragma unroll
  for (uint32_t s = 0; s < kStages - 1; ++s) {
    if (begin + s < end)
      fetch_chunk<kRows>(p, first_row, rows, begin + s, stages + s * kStageBytes);
    copy_async_commit();
  }
  uint32_t first_half[4][4], second_half[4][4];
  if (begin < end) unpack_half(raw, 0, shape.scale_type, first_half);
  uint32_t chunk = begin, stage = 0;
  for (uint32_t slice = first_slice; slice < first_slice + slices; ++slice) {
    const uint32_t slice_end = slice_begin(slice + 1, chunks);
    for (; chunk < slice_end; ++chunk) {
      copy_async_wait<kStages - 2>();
      fence_for_matrix_reads();
      __syncthreads();
      if (chunk + kStages - 1 < end) {
        fetch_chunk<kRows>(p, first_row, rows, chunk + kStages - 1,
                           stages + (stage + kStages - 1) % kStages * kStageBytes);
      }
      copy_async_commit();
      next.template load<false>(weights, shape, smaller(chunk + 1, end - 1), lane % 4);
      const uint64_t rows_at = rows_descriptor(stages + stage * kStageBytes);
      hold(acc);
      multiply_half<kRows>(acc, first_half, rows_at);
      unpack_half(raw, 1, shape.scale_type, second_half);
      multiply_half<kRows>(acc, second_half, rows_at + (kHalfBytes >> 4));
      raw = next;
      wgmma_wait<1>();
      unpack_half(raw, 0, shape.scale_type, first_half);
      wgmma_wait<0>();
      hold(acc);
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
  write_outputs(p, outputs, first_row, rows, total);
}

#endif

template <WeightFormat kFormat, uint32_t kRows>
__global__ void __launch_bounds__(kThreads, 1)
    warpgroup_kernel(const __grid_constant__ TiledParams p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  run_tile<kFormat, kRows>(p);
#endif
}

template <WeightFormat kFormat>
const void* kernel_of(TiledRows rows) {
  switch (rows) {
    case TiledRows::k32:
      return reinterpret_cast<const void*>(&warpgroup_kernel<kFormat, 32>);
    case TiledRows::k64:
      return reinterpret_cast<const void*>(&warpgroup_kernel<kFormat, 64>);
    case TiledRows::k128:
      break;
  }
  return reinterpret_cast<const void*>(&warpgroup_kernel<kFormat, 128>);
}

}  // namespace

uint32_t warpgroup_shared_bytes(TiledRows rows) {
  return static_cast<uint32_t>(rows) * 2 * kHalfRowBytes * kStages + 1024;
}

const void* warpgroup_kernel_for(ops::WeightFormat format, TiledRows rows) {
  switch (format) {
    case WeightFormat::kQ4:
      return kernel_of<WeightFormat::kQ4>(rows);
    case WeightFormat::kQ8:
      return kernel_of<WeightFormat::kQ8>(rows);
    case WeightFormat::kF16:
      return kernel_of<WeightFormat::kF16>(rows);
    case WeightFormat::kBF16:
      return kernel_of<WeightFormat::kBF16>(rows);
    case WeightFormat::kF32:
      break;
  }
  return nullptr;
}

}  // namespace krserve::kernels::cuda
