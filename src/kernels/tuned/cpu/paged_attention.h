// paged_attention: online softmax over blocks of 64 positions; a task is (tile of rows, kv head).
//
// A block's keys (transposed) and values are converted to f32 once and used by all query heads of
// the group and all rows of the tile that belong to the same sequence. Blocks begin at multiples of
// 64 positions and every sum runs along positions or dimensions in one order, so a row's bits do
// not depend on the tile it is in.
#pragma once

#include "kernels/ops/paged_attention.h"
#include "kernels/tuned/cpu/convert.h"
#include "kernels/tuned/cpu/kv_cache.h"
#include "kernels/tuned/cpu/math.h"

namespace krserve::kernels::KR_CPU_ISA {

inline constexpr uint32_t kKvBlock = 64;      // positions
inline constexpr uint32_t kMaxTileRows = 16;  // token rows per task
inline constexpr uint32_t kProductRows = kManyRegisters || kLanes == 8 ? 6 : 4;
inline constexpr uint32_t kProductVecs = kManyRegisters ? 4 : 2;

// c[kRows, kVecs vectors] (+)= a[kRows, depth] b[depth, .]: one fma per element of depth, in order.
template <uint32_t kRows, uint32_t kVecs>
inline void product_tile(float* c, size_t ldc, const float* a, size_t lda, const float* b,
                         size_t ldb, size_t depth, bool add) {
  VecF acc[kRows][kVecs] = {};
  if (add) {
    for (uint32_t r = 0; r < kRows; ++r) {
      for (uint32_t v = 0; v < kVecs; ++v) acc[r][v] = load(c + r * ldc + v * kLanes);
    }
  }
  for (size_t d = 0; d < depth; ++d) {
    VecF bv[kVecs];
    for (uint32_t v = 0; v < kVecs; ++v) bv[v] = load(b + d * ldb + v * kLanes);
    for (uint32_t r = 0; r < kRows; ++r) {
      const VecF av = splat(a[r * lda + d]);
      for (uint32_t v = 0; v < kVecs; ++v) acc[r][v] = fma(av, bv[v], acc[r][v]);
    }
  }
  for (uint32_t r = 0; r < kRows; ++r) {
    for (uint32_t v = 0; v < kVecs; ++v) store(c + r * ldc + v * kLanes, acc[r][v]);
  }
}

template <uint32_t kVecs>
KR_INLINE void product_columns(float* c, size_t ldc, const float* a, size_t lda, const float* b,
                               size_t ldb, uint32_t rows, size_t depth, bool add) {
  uint32_t r = 0;
  for (; r + kProductRows <= rows; r += kProductRows) {
    product_tile<kProductRows, kVecs>(c + r * ldc, ldc, a + r * lda, lda, b, ldb, depth, add);
  }
  c += r * ldc;
  a += r * lda;
  switch (rows - r) {
    case 1:
      return product_tile<1, kVecs>(c, ldc, a, lda, b, ldb, depth, add);
    case 2:
      return product_tile<2, kVecs>(c, ldc, a, lda, b, ldb, depth, add);
    case 3:
      return product_tile<3, kVecs>(c, ldc, a, lda, b, ldb, depth, add);
    case 4:
      return product_tile<4, kVecs>(c, ldc, a, lda, b, ldb, depth, add);
    case 5:
      return product_tile<5, kVecs>(c, ldc, a, lda, b, ldb, depth, add);
  }
}

// c[rows, cols] (+)= a[rows, depth] b[depth, cols]; cols is a multiple of kLanes.
inline void product(float* c, size_t ldc, const float* a, size_t lda, const float* b, size_t ldb,
                    uint32_t rows, size_t cols, size_t depth, bool add) {
  size_t at = 0;
  for (; at + kProductVecs * kLanes <= cols; at += kProductVecs * kLanes) {
    product_columns<kProductVecs>(c + at, ldc, a, lda, b + at, ldb, rows, depth, add);
  }
  for (; at < cols; at += kLanes) {
    product_columns<1>(c + at, ldc, a, lda, b + at, ldb, rows, depth, add);
  }
}

// Working memory of a task; a "line" is one query head of one row of the tile.
struct AttentionMemory {
  float* q;       // [line][head_dim], scaled
  float* out;     // [line][padded_dim], not yet normalized
  float* score;   // [line][kKvBlock], then the weights
  float* keys;    // [padded_dim][kKvBlock]
  float* values;  // [kKvBlock][padded_dim]
  float* peak;    // [line]
  float* total;   // [line][kLanes]
};

inline AttentionMemory attention_memory(Scratch& scratch, size_t lines, size_t dim, size_t padded) {
  const size_t q = round_up(lines * dim, 16), peak = round_up(lines, 16);
  const size_t floats = q + lines * (padded + kKvBlock + kLanes) + 2 * padded * kKvBlock + peak;
  AttentionMemory m;
  m.q = static_cast<float*>(scratch.reserve(floats * sizeof(float)));
  m.score = m.q + q;
  m.keys = m.score + lines * kKvBlock;
  m.values = m.keys + padded * kKvBlock;
  m.peak = m.values + padded * kKvBlock;
  m.total = m.peak + peak;
  m.out = m.total + lines * kLanes;
  return m;
}

// Rows [first, first + kLanes) of the block, as columns of m.keys; `count` positions exist.
template <FloatType kType>
KR_INLINE void transpose_keys(float* keys, const std::byte* const* from, size_t count, size_t dim) {
  for (size_t d = 0; d < dim; d += kLanes) {
    const size_t width = smaller<size_t>(kLanes, dim - d);
    VecF tile[kLanes];
    for (size_t s = 0; s < kLanes; ++s) {
      tile[s] = s < count ? load_part_as_f32<kType>(from[s] + d * kBytesOf<kType>, width) : VecF{};
    }
    transpose(tile);
    for (size_t i = 0; i < kLanes; ++i) store(keys + (d + i) * kKvBlock, tile[i]);
  }
}

template <FloatType kType>
inline void load_block(const AttentionMemory& m, const std::byte* const* keys, size_t plane,
                       size_t count, size_t dim, size_t padded) {
  for (size_t s = 0; s < count; s += kLanes) {
    transpose_keys<kType>(m.keys + s, keys + s, smaller<size_t>(kLanes, count - s), dim);
  }
  for (size_t s = 0; s < count; ++s) {
    for (size_t d = 0; d < dim; d += kLanes) {
      const size_t width = smaller<size_t>(kLanes, dim - d);
      store(m.values + s * padded + d,
            load_part_as_f32<kType>(keys[s] + plane + d * kBytesOf<kType>, width));
    }
  }
}

// Turns a line's scores into weights relative to its new peak and rescales what it had.
KR_INLINE void softmax_line(const AttentionMemory& m, uint32_t line, size_t count, size_t padded) {
  float* score = m.score + line * kKvBlock;
  const VecI lane = lane_index();
  const VecF lowest = splat(-__builtin_inff());
  VecF block_peak = lowest;
  for (uint32_t s = 0; s < kKvBlock; s += kLanes) {
    const VecI exists = lane + static_cast<int32_t>(s) < splat_i(static_cast<int32_t>(count));
    const VecF v = select(exists, load(score + s), lowest);
    store(score + s, v);
    block_peak = max(v, block_peak);
  }
  const float old_peak = m.peak[line];
  const float peak = larger(old_peak, max_lane(block_peak));
  const VecF correction = exp(splat(old_peak) - splat(peak));
  VecF total{};
  for (uint32_t s = 0; s < kKvBlock; s += kLanes) {
    const VecF weight = exp(load(score + s) - splat(peak));
    store(score + s, weight);
    total += weight;
  }
  m.peak[line] = peak;
  store(m.total + line * kLanes, fma(load(m.total + line * kLanes), correction, total));
  if (old_peak == peak) return;  // the correction is exactly 1
  float* out = m.out + line * padded;
  for (size_t d = 0; d < padded; d += kLanes) store(out + d, load(out + d) * correction);
}

// Rows [first, last): consecutive rows of one sequence.
inline void attend(const Call& call, const AttentionMemory& m, uint32_t first, uint32_t last,
                   uint32_t kv_head) {
  const auto& args = args_of<ops::PagedAttentionArgs>(call);
  const KvLayout& kv = args.kv;
  const size_t dim = kv.head_dim, padded = round_up(dim, kLanes);
  const uint32_t group = args.heads / kv.kv_heads;
  const uint32_t lines = (last - first) * group;
  const ops::StepRow* rows = step_rows(call, args.layout) + first;
  const uint32_t* pages = step_pages(call, args.layout) + rows[0].pages_begin;
  const size_t token_bytes = dim * ops::bytes_of(kv.type);
  const size_t plane = kv_plane(kv);
  const auto offset_of = [&](uint32_t line) {
    return (size_t{first + line / group} * args.heads + kv_head * group + line % group) * dim;
  };
  for (uint32_t line = 0; line < lines; ++line) {
    const float* q = buffer_of<const float>(call, 1) + offset_of(line);
    for (size_t d = 0; d < dim; ++d) m.q[line * dim + d] = q[d] * args.scale;
    m.peak[line] = -__builtin_inff();
    store(m.total + line * kLanes, VecF{});
  }
  __builtin_memset(m.out, 0, lines * padded * sizeof(float));

  uint32_t active = 0;  // rows before it have no position in the block
  const uint32_t positions = rows[last - first - 1].position + 1;
  for (uint32_t begin = 0; begin < positions; begin += kKvBlock) {
    const uint32_t count = smaller(kKvBlock, positions - begin);
    const std::byte* keys[kKvBlock];
    for (uint32_t s = 0; s < count; ++s) {
      const uint32_t page = (begin + s) / kv.page_tokens;
      keys[s] = kv_page_keys(call, 3, kv, pages[page], kv_head) +
                (begin + s) % kv.page_tokens * token_bytes;
    }
    switch (kv.type) {
      case FloatType::kF32:
        load_block<FloatType::kF32>(m, keys, plane, count, dim, padded);
        break;
      case FloatType::kF16:
        load_block<FloatType::kF16>(m, keys, plane, count, dim, padded);
        break;
      case FloatType::kBF16:
        load_block<FloatType::kBF16>(m, keys, plane, count, dim, padded);
        break;
    }
    while (rows[active].position < begin) ++active;
    const uint32_t line0 = active * group;
    product(m.score + line0 * kKvBlock, kKvBlock, m.q + line0 * dim, dim, m.keys, kKvBlock,
            lines - line0, round_up(count, kLanes), dim, false);
    for (uint32_t row = active; row < last - first;) {
      // Rows that see the same number of positions go together.
      const uint32_t seen = smaller(kKvBlock, rows[row].position + 1 - begin);
      uint32_t next = row + 1;
      while (next < last - first && smaller(kKvBlock, rows[next].position + 1 - begin) == seen) {
        ++next;
      }
      for (uint32_t line = row * group; line < next * group; ++line) {
        softmax_line(m, line, seen, padded);
      }
      product(m.out + row * group * padded, padded, m.score + row * group * kKvBlock, kKvBlock,
              m.values, padded, (next - row) * group, padded, seen, true);
      row = next;
    }
  }
  for (uint32_t line = 0; line < lines; ++line) {
    const float inverse = 1.0f / sum(load(m.total + line * kLanes));
    float* out = buffer_of<float>(call, 2) + offset_of(line);
    for (size_t d = 0; d < dim; ++d) out[d] = m.out[line * padded + d] * inverse;
  }
}

// Large tiles share the conversion of keys and values; small steps need one task per row instead.
KR_INLINE uint32_t attention_tile_rows(uint32_t rows) {
  return smaller(kMaxTileRows, ceil_div(rows, 16u));
}

inline uint32_t paged_attention_tasks(const Call& call) {
  const uint32_t rows = step_header(call).num_rows;
  if (rows == 0) return 0;
  return ceil_div(rows, attention_tile_rows(rows)) *
         args_of<ops::PagedAttentionArgs>(call).kv.kv_heads;
}

inline void paged_attention_run(const Call& call, uint32_t begin, uint32_t end, Scratch& scratch) {
  const auto& args = args_of<ops::PagedAttentionArgs>(call);
  const uint32_t num_rows = step_header(call).num_rows;
  const uint32_t tile = attention_tile_rows(num_rows);
  const uint32_t group = args.heads / args.kv.kv_heads;
  const ops::StepRow* rows = step_rows(call, args.layout);
  const AttentionMemory memory = attention_memory(scratch, size_t{tile} * group, args.kv.head_dim,
                                                  round_up(args.kv.head_dim, kLanes));
  for (uint32_t task = begin; task < end; ++task) {
    const uint32_t kv_head = task % args.kv.kv_heads;
    const uint32_t tile_begin = task / args.kv.kv_heads * tile;
    const uint32_t tile_end = smaller(tile_begin + tile, num_rows);
    for (uint32_t first = tile_begin; first < tile_end;) {
      uint32_t last = first + 1;
      while (last < tile_end && rows[last].slot == rows[first].slot &&
             rows[last].pages_begin == rows[first].pages_begin &&
             rows[last].position > rows[last - 1].position) {
        ++last;
      }
      attend(call, memory, first, last, kv_head);
      first = last;
    }
  }
}

}  // namespace krserve::kernels::KR_CPU_ISA
