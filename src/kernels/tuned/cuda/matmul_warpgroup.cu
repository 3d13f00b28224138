// matmul for more than eight rows with Hopper's warpgroup instructions.
//
// A block makes 128 outputs of 32, 64 or 128 rows, with two warpgroups of 64 outputs. Weights go
// from memory to registers and are unpacked there; rows come through shared memory, a few chunks
// ahead. While the tensor cores work on half a chunk, the other half is unpacked. Slices and splits
// are those of matmul_tiled.cu.
#include "kernels/tuned/cuda/tiles.cuh"
#include "kernels/tuned/cuda/wgmma.cuh"
#include "kernels/tuned/cuda/with_format.h"

namespace krserve::kernels::cuda {
namespace {

constexpr uint32_t kThreads = kTileThreads;
constexpr uint32_t kHalfRowBytes = 128;  // of a chunk's half

// A stage of the pipeline: the rows' halves of k, then the weights as they lie in memory.
template <WeightFormat kFormat, uint32_t kRows>
struct Stage {
  static constexpr uint32_t kPieces = FormatTraits<kFormat>::kPieces;
  static constexpr uint32_t kHalfBytes = kRows * kHalfRowBytes;
  static constexpr uint32_t kWeightRowBytes = kPieces * 64;
  static constexpr uint32_t kBytes = 2 * kHalfBytes + kTiledOutputs * kWeightRowBytes;
  static constexpr uint32_t kCount = kPieces == 4 ? 3 : kPieces == 2 ? 4 : 5;  // stages
  static constexpr uint32_t kAllBytes = kCount * kBytes + 1024;
};

// What a thread copies of each chunk of the block's rows: the same 16 bytes of every sixteenth row.
template <uint32_t kRows>
struct RowCopies {
  static constexpr uint32_t kCount = kRows * 16 / kThreads;

  const uint8_t* from;
  uint32_t stride;  // bytes between two copies' sources
  uint32_t to;      // in a stage
  uint32_t valid;   // a bit for each: its row is one of the step's

  __device__ __forceinline__ void set(const TiledParams& p, uint32_t first_row, uint32_t rows) {
    const uint32_t r = threadIdx.x / 16, part = threadIdx.x % 16;
    const size_t row_bytes = padded_k(p.matmul.shape.k) * sizeof(uint16_t);
    from = reinterpret_cast<const uint8_t*>(p.halves) + (first_row + r) * row_bytes + part * 16;
    stride = static_cast<uint32_t>(16 * row_bytes);
    to = part / 8 * (kRows * kHalfRowBytes) + r * kHalfRowBytes + ((part % 8) ^ (r % 8)) * 16;
    valid = 0;
#pragma unroll
    for (uint32_t i = 0; i < kCount; ++i) {
      valid |= static_cast<uint32_t>(first_row + r + i * 16 < rows) << i;
    }
  }

  // In two halves of k; rows past the end become zeros.
  __device__ __forceinline__ void copy(const TiledParams& p, uint32_t chunk, uint32_t stage) const {
#pragma unroll
    for (uint32_t i = 0; i < kCount; ++i) {
      const bool inside = (valid >> i & 1) != 0;
      const uint8_t* source = from + (i * stride + chunk * (kChunk * 2));
      copy_async(stage + to + i * 16 * kHalfRowBytes,
                 inside ? source : reinterpret_cast<const uint8_t*>(p.halves), inside);
    }
  }
};

// The two rows of a lane. Gated: its first is of the gate's matrix, its second of up's.
struct WarpOutputs {
  const Matrix* matrix[2];
  uint32_t row[2];
};

[[maybe_unused]] __device__ __forceinline__ WarpOutputs outputs_of(const MatmulParams& p,
                                                                   uint32_t warp, uint32_t lane) {
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

// What a thread copies of each chunk of the block's weights: the same 16 bytes of some rows. Rows
// stand as the warps' lanes take them: eight first rows of a warp, then its second ones.
template <WeightFormat kFormat>
struct WeightCopies {
  static constexpr uint32_t kOfRow = FormatTraits<kFormat>::kPieces * 4;
  static constexpr uint32_t kCount = kTiledOutputs * kOfRow / kThreads;
  static constexpr uint32_t kPerPiece = kChunk / kOfRow;

  const uint8_t* from[kCount];

  __device__ __forceinline__ void set(const MatmulParams& p) {
    const uint32_t row_bytes = p.shape.k / 8 * kOfRow;
#pragma unroll
    for (uint32_t i = 0; i < kCount; ++i) {
      const uint32_t r = (threadIdx.x + i * kThreads) / kOfRow;
      const WarpOutputs out = outputs_of(p, r / 16, r % 8 * 4);
      const bool second = r / 8 % 2 != 0;
      const Matrix& matrix = second ? *out.matrix[1] : *out.matrix[0];
      const size_t row = smaller(second ? out.row[1] : out.row[0], matrix.n - 1);
      from[i] = matrix.data + row * row_bytes;
    }
  }

  // Past the end of a row its last piece is copied again.
  __device__ __forceinline__ void copy(const MatrixShape& shape, uint32_t chunk,
                                       uint32_t to) const {
    const uint32_t k =
        smaller(chunk * kChunk + threadIdx.x % kOfRow * kPerPiece, shape.k - kPerPiece);
#pragma unroll
    for (uint32_t i = 0; i < kCount; ++i) {
      copy_async(to + (threadIdx.x + i * kThreads) * 16, from[i] + k * 16 / kPerPiece, true);
    }
  }
};

// Scales and biases of a lane's two rows.
template <WeightFormat kFormat>
struct LaneGroups {
  static constexpr bool kQuantized = FormatTraits<kFormat>::kQuantized;
  const uint8_t* scales[2];
  const uint8_t* biases[2];

  __device__ __forceinline__ void set(const WarpOutputs& out, const MatrixShape& shape) {
    if constexpr (kQuantized) {
#pragma unroll
      for (uint32_t h = 0; h < 2; ++h) {
        const size_t row = smaller(out.row[h], out.matrix[h]->n - 1);
        const size_t bytes = row * (shape.k >> shape.group_shift) * sizeof(uint16_t);
        scales[h] = out.matrix[h]->scales + bytes;
        biases[h] = out.matrix[h]->biases + bytes;
      }
    }
  }

  __device__ __forceinline__ void load(GroupValues<kFormat>& values, const MatrixShape& shape,
                                       uint32_t chunk, uint32_t quad_lane) const {
    if constexpr (kQuantized) {
#pragma unroll
      for (uint32_t p = 0; p < FormatTraits<kFormat>::kPieces; ++p) {
        const uint32_t group = group_of<kFormat>(shape, chunk, p, quad_lane);
#pragma unroll
        for (uint32_t h = 0; h < 2; ++h) {
          values.scale[h][p] = load_raw(scales[h], group);
          values.bias[h][p] = load_raw(biases[h], group);
        }
      }
    }
  }
};

// A lane's pieces of a chunk from shared memory.
template <WeightFormat kFormat>
__device__ __forceinline__ void read_weights(RawChunk<kFormat>& raw, const char* from,
                                             uint32_t warp, uint32_t lane) {
  constexpr uint32_t kPieces = FormatTraits<kFormat>::kPieces;
#pragma unroll
  for (uint32_t h = 0; h < 2; ++h) {
#pragma unroll
    for (uint32_t p = 0; p < kPieces; ++p) {
      const uint32_t row = warp * 16 + h * 8 + lane / 4;
      raw.piece[h][p] =
          *reinterpret_cast<const uint4*>(from + row * (kPieces * 64) + p * 64 + lane % 4 * 16);
    }
  }
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
__device__ __forceinline__ void unpack_half(const RawChunk<kFormat>& raw,
                                            const GroupValues<kFormat>& groups, uint32_t half,
                                            FloatType scale_type, uint32_t (&steps)[4][4]) {
  raw.unpack(half * 2, groups, scale_type, steps[0], steps[1]);
  raw.unpack(half * 2 + 1, groups, scale_type, steps[2], steps[3]);
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
  using S = Stage<kFormat, kRows>;
  // A stage is filled two chunks after its use: by then no warpgroup works with it any more.
  constexpr uint32_t kAhead = S::kCount - 2;
  constexpr uint32_t kTiles = kRows / 8;
  extern __shared__ uint4 dynamic[];
  const uint32_t stages = (shared_address(dynamic) + 1023) / 1024 * 1024;
  const char* stages_here =
      reinterpret_cast<const char*>(dynamic) + (stages - shared_address(dynamic));
  const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const WarpOutputs outputs = outputs_of(p.matmul, warp, lane);
  const MatrixShape shape = p.matmul.shape;
  const uint32_t chunks = chunks_of(shape.k);
  const uint32_t slices = kSlices / p.splits, first_slice = blockIdx.z * slices;
  const uint32_t begin = slice_begin(first_slice, chunks);
  const uint32_t end = slice_begin(first_slice + slices, chunks);

  let_next_begin();
  WeightCopies<kFormat> weight_copies;
  weight_copies.set(p.matmul);
#pragma unroll
  for (uint32_t s = 0; s < kAhead; ++s) {
    if (begin + s >= end) break;
    weight_copies.copy(shape, begin + s, stages + s * S::kBytes + 2 * S::kHalfBytes);
  }
  LaneGroups<kFormat> groups;
  groups.set(outputs, shape);
  RawChunk<kFormat> raw;
  GroupValues<kFormat> values, next, after;
  const uint32_t last = larger(end, begin + 1) - 1;
  groups.load(values, shape, begin, lane % 4);
  groups.load(next, shape, smaller(begin + 1, last), lane % 4);
  const uint32_t rows = *p.matmul.row_count;
  wait_for_previous();
  const uint32_t first_row = blockIdx.x * kRows;
  if (first_row >= rows) {
    copy_async_wait<0>();
    return;
  }

  RowCopies<kRows> row_copies;
  row_copies.set(p, first_row, rows);
  float acc[kTiles][4] = {}, total[kTiles][4] = {};
  const uint32_t tile = blockIdx.y * gridDim.x + blockIdx.x;
  constexpr uint32_t kPartial = kTiles * kThreads;  // float4s of a slice
  float4* partials =
      static_cast<float4*>(p.partials) + static_cast<size_t>(tile) * kSlices * kPartial;
#pragma unroll
  for (uint32_t s = 0; s < kAhead; ++s) {
    if (begin + s < end) row_copies.copy(p, begin + s, stages + s * S::kBytes);
    copy_async_commit();
  }
  uint32_t first_half[4][4], second_half[4][4];
  copy_async_wait<kAhead - 1>();
  fence_for_matrix_reads();
  __syncthreads();
  uint32_t chunk = begin, stage = 0;
  if (begin < end) {
    read_weights<kFormat>(raw, stages_here + 2 * S::kHalfBytes, warp, lane);
    unpack_half(raw, values, 0, shape.scale_type, first_half);
  }
  for (uint32_t slice = first_slice; slice < first_slice + slices; ++slice) {
    const uint32_t slice_end = slice_begin(slice + 1, chunks);
    for (; chunk < slice_end; ++chunk) {
      const uint32_t ahead = chunk + kAhead;
      if (ahead < end) {
        const uint32_t to = stages + (stage + kAhead) % S::kCount * S::kBytes;
        row_copies.copy(p, ahead, to);
        weight_copies.copy(shape, ahead, to + 2 * S::kHalfBytes);
      }
      copy_async_commit();
      groups.load(after, shape, smaller(chunk + 2, last), lane % 4);
      const uint64_t rows_at = rows_descriptor(stages + stage * S::kBytes);
      hold(acc);
      multiply_half<kRows>(acc, first_half, rows_at);
      unpack_half(raw, values, 1, shape.scale_type, second_half);
      multiply_half<kRows>(acc, second_half, rows_at + (S::kHalfBytes >> 4));
      values = next;
      next = after;
      stage = (stage + 1) % S::kCount;
      copy_async_wait<kAhead - 1>();
      fence_for_matrix_reads();
      wgmma_wait<1>();
      __syncthreads();
      read_weights<kFormat>(raw, stages_here + stage * S::kBytes + 2 * S::kHalfBytes, warp, lane);
      unpack_half(raw, values, 0, shape.scale_type, first_half);
      wgmma_wait<0>();
      hold(acc);
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
__global__ void __launch_bounds__(kThreads,
                                  kRows == 32 && FormatTraits<kFormat>::kPieces == 1 ? 2 : 1)
    warpgroup_kernel(const __grid_constant__ TiledParams p) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  run_tile<kFormat, kRows>(p);
#else
  __trap();  // no plan chooses it here
#endif
}

template <WeightFormat kFormat, uint32_t kRows>
const void* kernel_of() {
  return reinterpret_cast<const void*>(&warpgroup_kernel<kFormat, kRows>);
}

}  // namespace

uint32_t warpgroup_shared_bytes(ops::WeightFormat format, TiledRows rows) {
  return with_format(format, [&](auto f) {
    return with_rows(
        rows, [](auto r) { return Stage<decltype(f)::value, decltype(r)::value>::kAllBytes; });
  });
}

const void* warpgroup_kernel_for(ops::WeightFormat format, TiledRows rows) {
  return with_format(format, [&](auto f) {
    return with_rows(rows,
                     [](auto r) { return kernel_of<decltype(f)::value, decltype(r)::value>(); });
  });
}

}  // namespace krserve::kernels::cuda
