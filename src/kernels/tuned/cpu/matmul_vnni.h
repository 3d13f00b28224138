// matmul of 4-bit weights with groups of 64 or 128 on integer dot products (AVX-512 VNNI).
//
// Each block of 64 activations becomes 16-bit integers with a scale of its own, x = scale * q with
// |q| <= 32639 (error <= 2^-16 of the block's largest), split as q = 256 * high + low into two
// signed bytes. A block's dot product with the unsigned weights is then exact in int32, so what
// order it is summed in does not matter; docs/decisions/005-integer-matmul.md has the reasons and
// figures.
//
// y[r, n] has two f32 accumulators, one for even and one for odd blocks of k. For each block in
// ascending order: acc = fma(dot, weight_scale * x_scale, acc), acc = fma(weight_bias, x_sum, acc).
// Both paths keep to that, so a row's bits depend neither on the other rows nor on the tasks.
#pragma once

#include "kernels/tuned/cpu/integer_operands.h"

#if defined(__AVX512VNNI__)

namespace krserve::kernels::KR_CPU_ISA {

inline constexpr uint32_t kDirectRows = 4;    // up to here weights stay in registers
inline constexpr uint32_t kPanelRows = 6;     // token rows of a register tile of the panel path
inline constexpr uint32_t kPanelTiles = 2;    // its tiles of weight rows
inline constexpr uint32_t kPanelBlocks = 8;   // blocks of k in the panel at a time
inline constexpr uint32_t kTokenBlock = 126;  // token rows per pass over k
inline constexpr size_t kPanelBytes = kBlock * kTile;  // of a block of a tile
static_assert(kTokenBlock % kPanelRows == 0);

KR_INLINE VecW low_nibbles(VecW w) {
  return _mm512_and_si512(w, _mm512_set1_epi8(0x0f));
}
KR_INLINE VecW high_nibbles(VecW w) {
  return low_nibbles(_mm512_srli_epi16(w, 4));
}
KR_INLINE VecW load_bytes(const std::byte* from) {
  return _mm512_loadu_si512(from);
}

// Sums of four weights each over two blocks: lanes 0-7 of the first, 8-15 of the second.
KR_INLINE VecW dot_pair(VecW low, VecW high, const std::byte* x) {
  VecW dot = _mm512_dpbusd_epi32(_mm512_setzero_si512(), low, load_bytes(x));
  dot = _mm512_slli_epi32(_mm512_dpbusd_epi32(dot, high, load_bytes(x + 64)), 8);
  dot = _mm512_dpbusd_epi32(dot, low, load_bytes(x + 128));
  return _mm512_dpbusd_epi32(dot, high, load_bytes(x + 192));
}

// Of four vectors, each 128-bit part's four lanes summed: {a, b, c, d} in each part.
KR_INLINE VecW sum_parts(VecW a, VecW b, VecW c, VecW d) {
  const VecW ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  const VecW cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
  return _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
}

// {a0 + a1, a2 + a3, b0 + b1, b2 + b3} of 128-bit parts.
KR_INLINE VecW sum_halves(VecW a, VecW b) {
  return _mm512_add_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
}

struct Accumulators {
  VecF even, odd;
};

KR_INLINE VecF add_block(VecF acc, VecW dot, VecF w_scale, VecF w_bias, float x_scale,
                         float x_sum) {
  acc = fma(_mm512_cvtepi32_ps(dot), w_scale * splat(x_scale), acc);
  return fma(w_bias, splat(x_sum), acc);
}

// Adds pair `v` of blocks to the sums of kRows token rows. kHalf: the second block is not there.
template <uint32_t kRows, bool kHalf>
KR_INLINE void direct_pair(const IntegerProblem& p, uint32_t row, uint32_t v,
                           const uint32_t (&offsets)[kTile], const std::byte* w,
                           Accumulators (&acc)[kRows]) {
  const std::byte* x[kRows];
  for (uint32_t r = 0; r < kRows; ++r) x[r] = p.x + (size_t{row + r} * p.pairs + v) * kPairX;
  VecW quads[kRows][4];
  for (uint32_t quad = 0; quad < 4; ++quad) {
    VecW low[4], high[4];
    for (uint32_t i = 0; i < 4; ++i) {
      const std::byte* from = w + offsets[quad * 4 + i];
      VecW bytes = kHalf ? _mm512_maskz_loadu_epi64(0x0f, from) : load_bytes(from);
      asm("" : "+v"(bytes));  // or GCC loads twice, and weights need not be aligned
      low[i] = low_nibbles(bytes);
      high[i] = high_nibbles(bytes);
    }
    for (uint32_t r = 0; r < kRows; ++r) {
      VecW dots[4];
      for (uint32_t i = 0; i < 4; ++i) dots[i] = dot_pair(low[i], high[i], x[r]);
      quads[r][quad] = sum_parts(dots[0], dots[1], dots[2], dots[3]);
    }
  }
  const size_t even = (2 * v >> p.group_shift) * kTile,
               odd = ((2 * v + 1) >> p.group_shift) * kTile;
  const float* scales = p.tile_scales(0);
  const float* biases = p.tile_biases(0);
  for (uint32_t r = 0; r < kRows; ++r) {
    const VecW top = sum_halves(quads[r][0], quads[r][1]);
    const VecW bottom = sum_halves(quads[r][2], quads[r][3]);
    const float* x_scale = p.x_scale + (size_t{row + r} * p.pairs + v) * 2;
    const float* x_sum = p.x_sum + (size_t{row + r} * p.pairs + v) * 2;
    acc[r].even = add_block(acc[r].even, _mm512_shuffle_i32x4(top, bottom, 0x88),
                            load(scales + even), load(biases + even), x_scale[0], x_sum[0]);
    acc[r].odd = add_block(acc[r].odd, _mm512_shuffle_i32x4(top, bottom, 0xdd), load(scales + odd),
                           load(biases + odd), x_scale[1], x_sum[1]);
  }
}

// Few rows: weight rows [n, n + kTile), unpacked once for kRows token rows.
template <uint32_t kRows>
inline void direct_tile(const IntegerProblem& p, uint32_t row, uint32_t n) {
  uint32_t offsets[kTile];
  for (uint32_t i = 0; i < kTile; ++i) {
    offsets[i] = static_cast<uint32_t>((p.weight_row(n + i) - n) * p.w_bytes);
  }
  Accumulators acc[kRows] = {};
  const std::byte* w = p.w + size_t{n} * p.w_bytes;
  // The rows of the tile lie one after the other: read the next tile ahead as one stream.
  const std::byte* ahead = w + kTile * p.w_bytes;
  for (uint32_t v = 0; v < p.blocks / 2; ++v, w += 64, ahead += size_t{kTile} * 64) {
    for (uint32_t i = 0; i < kTile; ++i) __builtin_prefetch(ahead + i * 64, 0, 2);
    direct_pair<kRows, false>(p, row, v, offsets, w, acc);
  }
  if (p.blocks % 2 != 0) direct_pair<kRows, true>(p, row, p.pairs - 1, offsets, w, acc);
  for (uint32_t r = 0; r < kRows; ++r) p.write(row + r, n, acc[r].even + acc[r].odd);
}

// Reads ahead the scales and biases of the tile at weight row `n`, which need not exist.
inline void prefetch_tile_values(const IntegerProblem& p, uint32_t n) {
  const size_t row = size_t{p.groups} * (p.weight.scale_type == FloatType::kF32 ? 4 : 2);
  for (size_t at = 0; at < kTile * row; at += 64) {
    __builtin_prefetch(p.scales + n * row + at, 0, 2);
    __builtin_prefetch(p.biases + n * row + at, 0, 2);
  }
}

inline void direct_task(const IntegerProblem& p, uint32_t first, uint32_t last) {
  for (uint32_t n = first; n < last; n += kTile) {
    load_tile_values(p, 0, n);
    prefetch_tile_values(p, n + kTile);
    switch (p.rows) {
      case 1:
        direct_tile<1>(p, 0, n);
        break;
      case 2:
        direct_tile<2>(p, 0, n);
        break;
      case 3:
        direct_tile<3>(p, 0, n);
        break;
      default:
        direct_tile<4>(p, 0, n);
    }
  }
}

// Unpacks blocks [begin, end) of weight rows [n, n + kTile): per block 8 vectors of low nibbles and
// 8 of high ones, each with four weights of every row.
inline void fill_panel(const IntegerProblem& p, std::byte* to, uint32_t n, uint32_t begin,
                       uint32_t end) {
  for (uint32_t b = begin; b < end; b += 2, to += 2 * kPanelBytes) {
    const bool half = b + 1 == end;
    VecF rows[kTile];
    for (uint32_t i = 0; i < kTile; ++i) {
      const std::byte* from = p.w + size_t{p.weight_row(n + i)} * p.w_bytes + b * kBlock / 2;
      rows[i] = bit_as<VecF>(half ? _mm512_maskz_loadu_epi64(0x0f, from) : load_bytes(from));
    }
    transpose(rows);
    for (uint32_t j = 0; j < (half ? 8u : 16u); ++j) {
      std::byte* block = to + j / 8 * kPanelBytes + j % 8 * 64;
      const VecW bytes = bit_as<VecW>(rows[j]);
      _mm512_storeu_si512(block, low_nibbles(bytes));
      _mm512_storeu_si512(block + kPanelBytes / 2, high_nibbles(bytes));
    }
  }
}

// acc += panel * x over one block, for `x` at the block's high or low bytes.
template <uint32_t kRows, uint32_t kTiles>
KR_INLINE void panel_dots(VecW (&acc)[kRows][kTiles], const std::byte* panel, size_t tile_bytes,
                          const std::byte* x, size_t ldx) {
  for (uint32_t j = 0; j < 16; ++j) {
    VecW w[kTiles];
    for (uint32_t t = 0; t < kTiles; ++t) w[t] = load_bytes(panel + t * tile_bytes + j * 64);
    for (uint32_t r = 0; r < kRows; ++r) {
      int32_t four;
      __builtin_memcpy(&four, x + r * ldx + j / 8 * 64 + j % 8 * 4, sizeof(four));
      const VecW xv = _mm512_set1_epi32(four);
      for (uint32_t t = 0; t < kTiles; ++t) acc[r][t] = _mm512_dpbusd_epi32(acc[r][t], w[t], xv);
    }
  }
}

// Adds blocks [begin, end) of kTiles tiles to the partial sums of kRows token rows.
template <uint32_t kRows, uint32_t kTiles>
inline void panel_tile(const IntegerProblem& p, const std::byte* panel, size_t tile_bytes,
                       uint32_t row, uint32_t tile, uint32_t begin, uint32_t end, float* partial,
                       size_t ld_partial) {
  const size_t ldx = size_t{p.pairs} * kPairX;
  for (uint32_t b = begin; b < end; ++b, panel += kPanelBytes) {
    const std::byte* x = p.x + row * ldx + b / 2 * kPairX + b % 2 * 32;
    VecW dots[kRows][kTiles] = {};
    panel_dots<kRows, kTiles>(dots, panel, tile_bytes, x, ldx);
    for (uint32_t r = 0; r < kRows; ++r) {
      for (uint32_t t = 0; t < kTiles; ++t) dots[r][t] = _mm512_slli_epi32(dots[r][t], 8);
    }
    panel_dots<kRows, kTiles>(dots, panel, tile_bytes, x + 128, ldx);
    for (uint32_t t = 0; t < kTiles; ++t) {
      const VecF w_scale = load(p.tile_scales(tile + t) + (b >> p.group_shift) * kTile);
      const VecF w_bias = load(p.tile_biases(tile + t) + (b >> p.group_shift) * kTile);
      for (uint32_t r = 0; r < kRows; ++r) {
        const size_t at = size_t{row + r} * p.pairs * 2 + b;
        float* acc = partial + r * ld_partial + (t * 2 + b % 2) * kTile;
        const VecF before = b < 2 ? VecF{} : load(acc);
        store(acc, add_block(before, dots[r][t], w_scale, w_bias, p.x_scale[at], p.x_sum[at]));
      }
    }
  }
}

template <uint32_t kTiles>
KR_INLINE void panel_rows(uint32_t rows, const IntegerProblem& p, const std::byte* panel,
                          size_t tile_bytes, uint32_t row, uint32_t tile, uint32_t begin,
                          uint32_t end, float* partial, size_t ld_partial) {
  const auto run = [&]<uint32_t kRows>() {
    panel_tile<kRows, kTiles>(p, panel, tile_bytes, row, tile, begin, end, partial, ld_partial);
  };
  switch (rows) {
    case 1:
      return run.template operator()<1>();
    case 2:
      return run.template operator()<2>();
    case 3:
      return run.template operator()<3>();
    case 4:
      return run.template operator()<4>();
    case 5:
      return run.template operator()<5>();
    default:
      return run.template operator()<kPanelRows>();
  }
}

// Many rows: weights are unpacked once per part of k and stay in the cache for all of them.
inline void panel_task(const IntegerProblem& p, uint32_t first, uint32_t last) {
  const uint32_t tiles = ceil_div(last - first, kTile);
  const size_t ld_partial = size_t{tiles} * 2 * kTile;
  const size_t tile_bytes = smaller(kPanelBlocks, 2 * p.pairs) * kPanelBytes;
  const bool one_part = p.blocks <= kPanelBlocks;
  for (uint32_t t = 0; t < tiles; ++t) load_tile_values(p, t, first + t * kTile);
  for (uint32_t token = 0; token < p.rows; token += kTokenBlock) {
    const uint32_t token_end = smaller(token + kTokenBlock, p.rows);
    for (uint32_t begin = 0; begin < p.blocks; begin += kPanelBlocks) {
      const uint32_t end = smaller(begin + kPanelBlocks, p.blocks);
      for (uint32_t t = 0; t < tiles && (token == 0 || !one_part); ++t) {
        fill_panel(p, p.panel + t * tile_bytes, first + t * kTile, begin, end);
      }
      for (uint32_t row = token; row < token_end; row += kPanelRows) {
        const uint32_t count = smaller(kPanelRows, token_end - row);
        for (uint32_t t = 0; t < tiles; t += kPanelTiles) {
          const std::byte* panel = p.panel + t * tile_bytes;
          float* partial = p.partial + (row - token) * ld_partial + t * 2 * kTile;
          if (tiles - t >= kPanelTiles) {
            panel_rows<kPanelTiles>(count, p, panel, tile_bytes, row, t, begin, end, partial,
                                    ld_partial);
          } else {
            panel_rows<1>(count, p, panel, tile_bytes, row, t, begin, end, partial, ld_partial);
          }
        }
      }
    }
    for (uint32_t row = token; row < token_end; ++row) {
      for (uint32_t t = 0; t < tiles; ++t) {
        const float* acc = p.partial + (row - token) * ld_partial + t * 2 * kTile;
        const VecF odd = p.blocks < 2 ? VecF{} : load(acc + kTile);
        p.write(row, first + t * kTile, load(acc) + odd);
      }
    }
  }
}

inline uint32_t integer_matmul_tasks(const Call& call) {
  const auto& args = args_of<MatmulArgs>(call);
  if (row_count(call, args.rows) == 0) return 0;
  return ceil_div(args.weight.n, integer_task_rows(args.weight.n));
}

inline void integer_matmul_run(const Call& call, uint32_t begin, uint32_t end, Scratch& scratch) {
  const auto& args = args_of<MatmulArgs>(call);
  IntegerProblem p{};
  p.weight = args.weight;
  p.rows = row_count(call, args.rows);
  p.flags = args.flags;
  if (p.rows == 0) return;
  p.blocks = p.weight.k / kBlock;
  p.pairs = ceil_div(p.blocks, 2u);
  p.group_shift = p.weight.group_size == kBlock ? 0 : 1;
  p.groups = p.weight.k / p.weight.group_size;
  p.w_bytes = p.weight.k / 2;
  p.w = buffer_of<const std::byte>(call, 2);
  p.scales = buffer_of<const std::byte>(call, 3);
  p.biases = buffer_of<const std::byte>(call, 4);
  p.bias = (p.flags & ops::kMatmulBias) != 0 ? buffer_of<const float>(call, 5) : nullptr;
  p.y = buffer_of<float>(call, 6);

  const bool direct = p.rows <= kDirectRows;
  const uint32_t step = integer_task_rows(p.weight.n);
  const uint32_t tiles = direct ? 1 : step / kTile;
  const size_t x_bytes = size_t{p.rows} * p.pairs * kPairX;
  const size_t x_floats = round_up(size_t{p.rows} * p.pairs * 2, 16);
  const size_t panel_bytes = direct ? 0 : tiles * smaller(kPanelBlocks, 2 * p.pairs) * kPanelBytes;
  const size_t partial_floats =
      direct ? 0 : size_t{smaller(p.rows, kTokenBlock)} * tiles * 2 * kTile;
  const size_t floats = 2 * x_floats + tiles * 2 * p.table_floats() + partial_floats;
  const Scratch::Reserved reserved =
      scratch.reserve_for(call.serial, x_bytes + panel_bytes + floats * sizeof(float));
  p.x = static_cast<std::byte*>(reserved.memory);
  p.panel = p.x + x_bytes + 2 * x_floats * sizeof(float);
  p.x_scale = reinterpret_cast<float*>(p.x + x_bytes);
  p.x_sum = p.x_scale + x_floats;
  p.values = reinterpret_cast<float*>(p.panel + panel_bytes);
  p.partial = p.values + tiles * 2 * p.table_floats();
  prefetch_tile_values(p, begin * step);
  if (!reserved.kept) quantize_rows(p, buffer_of<const float>(call, 1));
  for (uint32_t task = begin; task < end; ++task) {
    const uint32_t first = task * step;
    const uint32_t last = smaller(first + step, p.weight.n);
    if (direct) {
      direct_task(p, first, last);
    } else {
      panel_task(p, first, last);
    }
  }
}

}  // namespace krserve::kernels::KR_CPU_ISA

#endif
