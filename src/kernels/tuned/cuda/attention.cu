// paged_attention: one kernel for single rows (decode), split along the context, and one for runs
// of rows of a sequence (prefill). Both do the same arithmetic for a row, split by split.
#include "kernels/tuned/cuda/attention_split.cuh"

namespace krserve::kernels::cuda {
namespace {

constexpr float kLog2E = 1.44269504088896341F;

// Rows of one token: its query heads of this kv head. The whole block works.
template <class T, uint32_t kDim>
__device__ __forceinline__ void fetch_queries_of_token(const AttentionParams& p, uint32_t row,
                                                       uint32_t kv_head, char* query) {
  using M = SplitMemory<kDim>;
  const float factor = p.args.scale * kLog2E;
#pragma unroll 2
  for (uint32_t i = threadIdx.x; i < 16 * kDim / 2; i += blockDim.x) {
    const uint32_t head = i / (kDim / 2), dim = i % (kDim / 2) * 2;
    float2 v = make_float2(0, 0);
    if (head < p.group) {
      const size_t at = static_cast<size_t>(row) * p.args.heads + kv_head * p.group + head;
      v = *reinterpret_cast<const float2*>(p.q + at * kDim + dim);
    }
    char* to = query + head * M::kQueryRowBytes + dim * 2;
    store_query<T>(to, to + M::kQueryBytes, __fmul_rn(v.x, factor), __fmul_rn(v.y, factor));
  }
}

constexpr uint32_t kNoPosition = ~0U;

// Keys and values of a split but for those of the position `without`, by one warp.
template <uint32_t kDim>
__device__ __forceinline__ void fetch_split(const AttentionParams& p, uint32_t pages_begin,
                                            uint32_t kv_head, uint32_t begin, uint32_t last,
                                            uint32_t without, uint32_t keys, uint32_t values) {
  using M = SplitMemory<kDim>;
  constexpr uint32_t kPieces = kDim / 8, kRowsAtOnce = 32 / kPieces;
  const uint32_t lane = threadIdx.x % 32;
  const size_t plane = ops::kv_plane_bytes(p.args.kv);
  uint64_t address[2];
#pragma unroll
  for (uint32_t i = 0; i < 2; ++i) {
    const uint32_t position = smaller(begin + lane + i * 32, last);
    address[i] =
        reinterpret_cast<uint64_t>(key_address(p, pages_begin, position, kv_head, M::kRowBytes));
  }
#pragma unroll 1
  for (uint32_t which = 0; which < 2; ++which) {
    const uint32_t tile = which ? values : keys;
#pragma unroll
    for (uint32_t half = 0; half < 2; ++half) {
#pragma unroll 4
      for (uint32_t i = 0; i < kSplit / 2 / kRowsAtOnce; ++i) {
        const uint32_t in_half = i * kRowsAtOnce + lane / kPieces, piece = lane % kPieces;
        const uint32_t row = half * 32 + in_half;
        const uint64_t from =
            __shfl_sync(0xffffffffU, address[half], in_half) + (which ? plane : 0) + piece * 16;
        if (begin + row == without) continue;
        copy_async(M::at(tile, row, piece), reinterpret_cast<const void*>(from),
                   begin + row <= last);
      }
    }
    copy_async_commit();
  }
}

// Of one position, if it is one of the split's.
template <uint32_t kDim>
__device__ __forceinline__ void fetch_position(const AttentionParams& p, uint32_t pages_begin,
                                               uint32_t kv_head, uint32_t begin, uint32_t position,
                                               uint32_t keys, uint32_t values) {
  using M = SplitMemory<kDim>;
  constexpr uint32_t kPieces = kDim / 8;
  const uint32_t which = threadIdx.x % 32 / kPieces, piece = threadIdx.x % kPieces;
  if (position - begin < kSplit && which < 2) {
    const uint8_t* from = key_address(p, pages_begin, position, kv_head, M::kRowBytes) +
                          (which ? ops::kv_plane_bytes(p.args.kv) : 0) + piece * 16;
    copy_async(M::at(which ? values : keys, position - begin, piece), from, true);
  }
  copy_async_commit();
}

template <uint32_t kDim>
__device__ __forceinline__ void store_partial(const AttentionParams& p, float* to,
                                              const Partial<kDim>& partial) {
  const uint32_t lane = threadIdx.x % 32;
#pragma unroll
  for (uint32_t i = 0; i < 2; ++i) {
    const uint32_t head = lane / 4 + i * 8;
    if (head >= p.group) continue;
#pragma unroll
    for (uint32_t d = 0; d < kDim / 8; ++d) {
      *reinterpret_cast<float2*>(to + head * kDim + d * 8 + lane % 4 * 2) =
          make_float2(partial.out[d][i * 2], partial.out[d][i * 2 + 1]);
    }
    if (lane % 4 == 0) {
      to[p.group * kDim + head * 2] = partial.peak[i];
      to[p.group * kDim + head * 2 + 1] = partial.sum[i];
    }
  }
}

// Merges the splits of a row in order. They come through `memory`, which held keys and values, as
// many together as fit.
template <uint32_t kDim>
__device__ __forceinline__ void combine(const AttentionParams& p, uint32_t row, uint32_t kv_head,
                                        uint32_t pages_begin, uint32_t splits, char* memory) {
  constexpr uint32_t kThreads = kDecodeWarps * 32;
  constexpr uint32_t kLines = kMaxGroup * kDim / 4 / kThreads;
  constexpr uint32_t kMemory = kDecodeWarps * 2 * SplitMemory<kDim>::kTileBytes;
  const uint32_t stride = partial_floats(p.group, kDim), pieces = p.group * kDim / 4;
  const uint32_t together = kMemory / (stride * static_cast<uint32_t>(sizeof(float)));
  float out[kLines][4] = {}, sum[kLines] = {}, peak[kLines];
#pragma unroll
  for (float& v : peak) v = -INFINITY;
  for (uint32_t begin = 0; begin < splits; begin += together) {
    const uint32_t count = smaller(together, splits - begin);
    __syncthreads();
#pragma unroll 4
    for (uint32_t i = threadIdx.x; i < count * stride / 4; i += kThreads) {
      const uint32_t split = i / (stride / 4), piece = i % (stride / 4);
      const uint32_t index = partial_index(p, row, pages_begin, begin + split);
      const float* from =
          p.partials + (static_cast<size_t>(index) * p.args.kv.kv_heads + kv_head) * stride;
      copy_async(shared_address(memory) + i * 16, from + piece * 4, true);
    }
    copy_async_commit();
    copy_async_wait<0>();
    __syncthreads();
#pragma unroll 2
    for (uint32_t s = 0; s < count; ++s) {
      const float* from = reinterpret_cast<const float*>(memory) + s * stride;
#pragma unroll
      for (uint32_t i = 0; i < kLines; ++i) {
        const uint32_t piece = smaller(threadIdx.x + i * kThreads, pieces - 1);
        const float4 v = reinterpret_cast<const float4*>(from)[piece];
        const float2 next =
            reinterpret_cast<const float2*>(from + p.group * kDim)[piece * 4 / kDim];
        const MergeFactors f = merge_factors(peak[i], next.x);
        out[i][0] = merge(f, out[i][0], v.x);
        out[i][1] = merge(f, out[i][1], v.y);
        out[i][2] = merge(f, out[i][2], v.z);
        out[i][3] = merge(f, out[i][3], v.w);
        sum[i] = merge(f, sum[i], next.y);
        peak[i] = f.peak;
      }
    }
  }
  float* to = p.out + (static_cast<size_t>(row) * p.args.kv.kv_heads + kv_head) * p.group * kDim;
#pragma unroll
  for (uint32_t i = 0; i < kLines; ++i) {
    const uint32_t piece = threadIdx.x + i * kThreads;
    if (piece >= pieces) continue;
    reinterpret_cast<float4*>(to)[piece] =
        make_float4(__fdiv_rn(out[i][0], sum[i]), __fdiv_rn(out[i][1], sum[i]),
                    __fdiv_rn(out[i][2], sum[i]), __fdiv_rn(out[i][3], sum[i]));
  }
}

template <class T, uint32_t kDim>
__global__ void __launch_bounds__(kDecodeWarps * 32)
    decode_attention(const __grid_constant__ AttentionParams p) {
  using M = SplitMemory<kDim>;
  extern __shared__ uint4 dynamic[];
  __shared__ uint32_t arrived;
  let_next_begin();
  const uint32_t row = blockIdx.x, kv_head = blockIdx.y, warp = threadIdx.x / 32;
  const uint32_t rows = *reinterpret_cast<const uint32_t*>(p.step);
  const ops::StepRow step = step_rows(p)[row];  // there is room for it even if it is not used
  const uint32_t splits = step.position / kSplit + 1;
  const uint32_t blocks = smaller(gridDim.z, (splits + kDecodeWarps - 1) / kDecodeWarps);
  const bool works = row < rows && is_alone(p, row, rows) && blockIdx.z < blocks;

  char* query = reinterpret_cast<char*>(dynamic) + kDecodeWarps * 2 * M::kTileBytes;
  const uint32_t keys = shared_address(dynamic) + warp * 2 * M::kTileBytes;
  const uint32_t values = keys + M::kTileBytes;
  const uint32_t stride = partial_floats(p.group, kDim);
  uint32_t split = blockIdx.z * kDecodeWarps + warp;
  const auto fetch = [&](uint32_t without) {
    if (split >= splits) return;
    fetch_split<kDim>(p, step.pages_begin, kv_head, split * kSplit, step.position, without, keys,
                      values);
  };
  if (works && p.early_keys) fetch(step.position);
  wait_for_previous();
  if (!works) return;
  if (p.early_keys) {
    fetch_position<kDim>(p, step.pages_begin, kv_head, split * kSplit, step.position, keys, values);
  } else {
    fetch(kNoPosition);
  }
  fetch_queries_of_token<T, kDim>(p, row, kv_head, query);
  __syncthreads();
  const uint32_t lane = threadIdx.x % 32;
  const int last = static_cast<int>(step.position);
  const int limits[2] = {lane / 4 < p.group ? last : -1, lane / 4 + 8 < p.group ? last : -1};
  while (split < splits) {
    copy_async_wait<0>();
    __syncwarp();
    Partial<kDim> partial;
    attend_split<T, kDim>(keys, values, shared_address(query), static_cast<int>(split * kSplit),
                          limits, partial);
    const uint32_t index = partial_index(p, row, step.pages_begin, split);
    const size_t at = static_cast<size_t>(index) * p.args.kv.kv_heads + kv_head;
    store_partial<kDim>(p, p.partials + at * stride, partial);
    __syncwarp();
    split += gridDim.z * kDecodeWarps;
    fetch(kNoPosition);
  }
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    uint32_t* arrivals = p.arrivals + row * p.args.kv.kv_heads + kv_head;
    arrived = atomicAdd(arrivals, 1);
    if (arrived == blocks - 1) *arrivals = 0;
  }
  __syncthreads();
  __threadfence();
  if (arrived == blocks - 1)
    combine<kDim>(p, row, kv_head, step.pages_begin, splits, reinterpret_cast<char*>(dynamic));
}

// Rows first..end-1 of one sequence, at most 16 for each subtile; a warp does 16 rows of one head.
template <class T, uint32_t kDim>
__device__ __forceinline__ void attend_run(const AttentionParams& p, uint32_t first, uint32_t end,
                                           uint32_t kv_head, char* dynamic) {
  using M = SplitMemory<kDim>;
  const ops::StepRow* all = step_rows(p);
  const uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const uint32_t warps = blockDim.x / 32;
  const uint32_t head = kv_head * p.group + warp % p.group;
  const uint32_t my_first = first + warp / p.group * 16;
  const uint32_t pages_begin = all[first].pages_begin, last = all[end - 1].position;
  const uint32_t tiles = shared_address(dynamic);
  char* query = dynamic + 4 * M::kTileBytes + warp * 2 * M::kQueryBytes;
  const size_t plane = ops::kv_plane_bytes(p.args.kv);

  const float factor = p.args.scale * kLog2E;
  for (uint32_t i = lane; i < 16 * kDim / 2; i += 32) {
    const uint32_t r = i / (kDim / 2), dim = i % (kDim / 2) * 2;
    float2 v = make_float2(0, 0);
    if (my_first + r < end) {
      const size_t at = static_cast<size_t>(my_first + r) * p.args.heads + head;
      v = *reinterpret_cast<const float2*>(p.q + at * kDim + dim);
    }
    char* to = query + r * M::kQueryRowBytes + dim * 2;
    store_query<T>(to, to + M::kQueryBytes, __fmul_rn(v.x, factor), __fmul_rn(v.y, factor));
  }
  int limits[2];
#pragma unroll
  for (uint32_t i = 0; i < 2; ++i) {
    const uint32_t row = my_first + lane / 4 + i * 8;
    limits[i] = row < end ? static_cast<int>(all[row].position) : -1;
  }
  const int my_last =
      my_first < end ? static_cast<int>(all[smaller(my_first + 16, end) - 1].position) : -1;

  const auto fetch = [&](uint32_t split, uint32_t stage) {
    constexpr uint32_t kPieces = kDim / 8;
    const uint32_t keys = tiles + stage * 2 * M::kTileBytes;
    for (uint32_t i = threadIdx.x; i < kSplit * kPieces; i += warps * 32) {
      const uint32_t r = i / kPieces, piece = i % kPieces;
      const uint32_t position = split * kSplit + r;
      const uint8_t* from =
          key_address(p, pages_begin, smaller(position, last), kv_head, M::kRowBytes) + piece * 16;
      copy_async(M::at(keys, r, piece), from, position <= last);
      copy_async(M::at(keys + M::kTileBytes, r, piece), from + plane, position <= last);
    }
    copy_async_commit();
  };
  Partial<kDim> total = {};
  total.peak[0] = total.peak[1] = -INFINITY;
  const uint32_t splits = last / kSplit + 1;
  fetch(0, 0);
  for (uint32_t split = 0; split < splits; ++split) {
    copy_async_wait<0>();
    __syncthreads();
    if (split + 1 < splits) fetch(split + 1, (split + 1) % 2);
    const int begin = static_cast<int>(split * kSplit);
    if (begin > my_last) continue;
    const uint32_t keys = tiles + split % 2 * 2 * M::kTileBytes;
    Partial<kDim> next;
    attend_split<T, kDim>(keys, keys + M::kTileBytes, shared_address(query), begin, limits, next);
#pragma unroll
    for (uint32_t i = 0; i < 2; ++i) {
      const MergeFactors f = merge_factors(total.peak[i], next.peak[i]);
#pragma unroll
      for (uint32_t d = 0; d < kDim / 8; ++d) {
        total.out[d][i * 2] = merge(f, total.out[d][i * 2], next.out[d][i * 2]);
        total.out[d][i * 2 + 1] = merge(f, total.out[d][i * 2 + 1], next.out[d][i * 2 + 1]);
      }
      total.sum[i] = merge(f, total.sum[i], next.sum[i]);
      total.peak[i] = f.peak;
    }
  }
#pragma unroll
  for (uint32_t i = 0; i < 2; ++i) {
    const uint32_t row = my_first + lane / 4 + i * 8;
    if (row >= end) continue;
    float* out = p.out + (static_cast<size_t>(row) * p.args.heads + head) * kDim + lane % 4 * 2;
#pragma unroll
    for (uint32_t d = 0; d < kDim / 8; ++d) {
      *reinterpret_cast<float2*>(out + d * 8) =
          make_float2(__fdiv_rn(total.out[d][i * 2], total.sum[i]),
                      __fdiv_rn(total.out[d][i * 2 + 1], total.sum[i]));
    }
  }
  __syncthreads();
}

template <class T, uint32_t kDim>
__global__ void __launch_bounds__(kMaxGroup * 32, 1)
    run_attention(const __grid_constant__ AttentionParams p) {
  extern __shared__ uint4 dynamic[];
  let_next_begin();
  wait_for_previous();
  const uint32_t rows = *reinterpret_cast<const uint32_t*>(p.step);
  const uint32_t tokens = run_subtiles(p.group) * 16;
  // The longest contexts first: they take longest.
  const uint32_t tile = gridDim.x - 1 - blockIdx.x;
  const ops::StepRow* all = step_rows(p);
  const uint32_t tile_end = smaller((tile + 1) * tokens, rows);
  for (uint32_t first = tile * tokens; first < tile_end;) {
    uint32_t end = first + 1;
    while (end < tile_end && all[end].pages_begin == all[first].pages_begin) ++end;
    if (end - first > 1 || !is_alone(p, first, rows)) {
      attend_run<T, kDim>(p, first, end, blockIdx.y, reinterpret_cast<char*>(dynamic));
    }
    first = end;
  }
}

template <class T, uint32_t kDim>
const void* kernel_of(bool decode) {
  return decode ? reinterpret_cast<const void*>(&decode_attention<T, kDim>)
                : reinterpret_cast<const void*>(&run_attention<T, kDim>);
}

template <uint32_t kDim>
uint32_t shared_bytes(uint32_t warps, bool decode) {
  using M = SplitMemory<kDim>;
  return decode ? kDecodeWarps * 2 * M::kTileBytes + 2 * M::kQueryBytes
                : 4 * M::kTileBytes + warps * 2 * M::kQueryBytes;
}

}  // namespace

const void* attention_kernel_for(ops::FloatType type, uint32_t head_dim, bool decode) {
  const bool f16 = type == ops::FloatType::kF16;
  if (type == ops::FloatType::kF32) return nullptr;
  if (head_dim == 64) {
    return f16 ? kernel_of<half, 64>(decode) : kernel_of<__nv_bfloat16, 64>(decode);
  }
  if (head_dim != 128) return nullptr;
  return f16 ? kernel_of<half, 128>(decode) : kernel_of<__nv_bfloat16, 128>(decode);
}

uint32_t attention_shared_bytes(uint32_t head_dim, uint32_t warps, bool decode) {
  return head_dim == 64 ? shared_bytes<64>(warps, decode) : shared_bytes<128>(warps, decode);
}

}  // namespace krserve::kernels::cuda
