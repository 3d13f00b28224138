// rope_kv_write: a warp per row and head, of q first, then of k with its v. All but q, k and v is
// read before the launches before have ended.
#include "kernels/tuned/cuda/ptx.cuh"
#include "kernels/tuned/cuda/rope_params.h"

namespace krserve::kernels::cuda {
namespace {

// A lane's share of a head: elements lane + 32 i and those half a head later.
template <uint32_t kPairs>
struct Pairs {
  float low[kPairs];
  float high[kPairs];

  __device__ __forceinline__ void load(const float* from, uint32_t lane) {
#pragma unroll
    for (uint32_t j = 0; j < kPairs; ++j) {
      low[j] = from[lane + j * 32];
      high[j] = from[lane + (j + kPairs) * 32];
    }
  }

  template <class T>
  __device__ __forceinline__ void store(T* to, uint32_t lane) const {
#pragma unroll
    for (uint32_t j = 0; j < kPairs; ++j) {
      put(to + lane + j * 32, low[j]);
      put(to + lane + (j + kPairs) * 32, high[j]);
    }
  }

  __device__ __forceinline__ void store(uint8_t* to, ops::FloatType type, uint32_t lane) const {
    if (type == ops::FloatType::kF32) return store(reinterpret_cast<float*>(to), lane);
    if (type == ops::FloatType::kF16) return store(reinterpret_cast<half*>(to), lane);
    store(reinterpret_cast<__nv_bfloat16*>(to), lane);
  }

  __device__ __forceinline__ void normalize(const Pairs& weight, float eps) {
    float squares = 0;
#pragma unroll
    for (uint32_t j = 0; j < kPairs; ++j) {
      squares = __fmaf_rn(low[j], low[j], squares);
      squares = __fmaf_rn(high[j], high[j], squares);
    }
#pragma unroll
    for (uint32_t mask = 16; mask > 0; mask /= 2) {
      squares = __fadd_rn(squares, __shfl_xor_sync(0xffffffffU, squares, mask));
    }
    const float mean = __fdiv_rn(squares, static_cast<float>(64 * kPairs));
    const float inverse = __frcp_rn(__fsqrt_rn(__fadd_rn(mean, eps)));
#pragma unroll
    for (uint32_t j = 0; j < kPairs; ++j) {
      low[j] = __fmul_rn(__fmul_rn(low[j], inverse), weight.low[j]);
      high[j] = __fmul_rn(__fmul_rn(high[j], inverse), weight.high[j]);
    }
  }

  // `table`: cosines as low, sines as high.
  __device__ __forceinline__ void rotate(const Pairs& table) {
#pragma unroll
    for (uint32_t j = 0; j < kPairs; ++j) {
      const float cosine = table.low[j], sine = table.high[j], a = low[j], b = high[j];
      low[j] = __fmaf_rn(a, cosine, -__fmul_rn(b, sine));
      high[j] = __fmaf_rn(b, cosine, __fmul_rn(a, sine));
    }
  }

 private:
  static __device__ __forceinline__ void put(float* to, float v) { *to = v; }
  static __device__ __forceinline__ void put(half* to, float v) { *to = __float2half_rn(v); }
  static __device__ __forceinline__ void put(__nv_bfloat16* to, float v) {
    *to = __float2bfloat16_rn(v);
  }
};

// Where the position's key goes.
__device__ __forceinline__ uint8_t* key_address(const RopeParams& p, const ops::StepRow& row,
                                                uint32_t kv_head) {
  const ops::KvLayout& kv = p.args.kv;
  const auto* pages = reinterpret_cast<const uint32_t*>(p.step + p.args.layout.pages_offset);
  const uint32_t index = row.position / kv.page_tokens;
  const uint32_t page = pages[row.pages_begin + index];
  const uint32_t row_bytes = kv.head_dim * ops::bytes_of(kv.type);
  const size_t head_bytes = static_cast<size_t>(kv.page_tokens) * row_bytes;
  return p.segments[page >> kv.segment_shift] +
         (page & ((1U << kv.segment_shift) - 1)) * kv.page_bytes +
         (static_cast<size_t>(kv.layer) * 2 * kv.kv_heads + kv_head) * head_bytes +
         (row.position - index * kv.page_tokens) * row_bytes;
}

template <uint32_t kPairs>
__global__ void __launch_bounds__(kRopeWarps * 32)
    rope_kernel(const __grid_constant__ RopeParams p) {
  constexpr uint32_t kDim = kPairs * 64;
  const ops::KvLayout& kv = p.args.kv;
  const uint32_t r = blockIdx.x, lane = threadIdx.x % 32;
  const uint32_t line = blockIdx.y * kRopeWarps + threadIdx.x / 32;  // of q, then of k
  const bool is_q = line < p.args.heads;
  const uint32_t head = is_q ? line : line - p.args.heads;
  let_next_begin();
  const bool works =
      r < *reinterpret_cast<const uint32_t*>(p.step) && line < p.args.heads + kv.kv_heads;
  Pairs<kPairs> table, weight;
  uint8_t* key = nullptr;
  if (works) {
    const ops::StepRow row =
        reinterpret_cast<const ops::StepRow*>(p.step + p.args.layout.rows_offset)[r];
    table.load(p.table + static_cast<size_t>(row.position) * kDim, lane);
    if (p.args.qk_norm != 0) weight.load(is_q ? p.q_norm : p.k_norm, lane);
    if (!is_q) key = key_address(p, row, head);
  }
  wait_for_previous();
  if (!works) return;
  const size_t at = (static_cast<size_t>(r) * (is_q ? p.args.heads : kv.kv_heads) + head) * kDim;
  const float* x = (is_q ? p.q : p.k) + at;
  Pairs<kPairs> pairs, value;
  pairs.load(x, lane);
  if (!is_q) value.load(p.v + at, lane);
  if (p.args.qk_norm != 0) pairs.normalize(weight, p.args.norm_eps);
  pairs.rotate(table);
  if (is_q) {
    pairs.store(p.q + at, lane);
  } else {
    pairs.store(key, kv.type, lane);
    value.store(key + ops::kv_plane_bytes(kv), kv.type, lane);
  }
}

}  // namespace

const void* rope_kernel_for(uint32_t head_dim) {
  if (head_dim == 64) return reinterpret_cast<const void*>(&rope_kernel<1>);
  if (head_dim == 128) return reinterpret_cast<const void*>(&rope_kernel<2>);
  return nullptr;
}

}  // namespace krserve::kernels::cuda
