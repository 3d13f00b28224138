// matmul: two paths with the same arithmetic, chosen by the number of rows.
//
// y[r, n] has one accumulator of kLanes lanes: lane l sums the k with k % kLanes == l in ascending
// order, one fma each; sum4() then adds the lanes. Both paths keep to that, so a row's bits depend
// neither on the other rows nor on how tasks are split.
#pragma once

#include "kernels/ops/matmul.h"
#include "kernels/tuned/cpu/step.h"
#include "kernels/tuned/cpu/weights.h"

namespace krserve::kernels::KR_CPU_ISA {

inline constexpr uint32_t kTileN = 4;                       // weight rows of a register tile
inline constexpr uint32_t kTileM = kManyRegisters ? 6 : 3;  // token rows of a register tile
inline constexpr uint32_t kDirectRows = 2 * kTileM;         // up to here weights stay in registers
inline constexpr uint32_t kBlockK = 1024;                   // a multiple of all group sizes
inline constexpr uint32_t kBlockM = 126;  // token rows per pass over k; a multiple of kTileM
inline constexpr uint32_t kMaxTaskRows = 64;
inline constexpr size_t kPrefetchBytes = 8192;  // beyond the current tile of weight rows
static_assert(kBlockM % kTileM == 0);

// Weight rows of one task: enough tasks to balance, few enough to amortize what a task prepares.
KR_INLINE uint32_t task_rows(uint32_t n) {
  if (n >= 16384) return kMaxTaskRows;
  return n >= 512 ? 32 : 16;
}

inline uint32_t matmul_tasks(const Call& call) {
  const auto& args = args_of<ops::MatmulArgs>(call);
  if (row_count(call, args.rows) == 0) return 0;
  return ceil_div(args.weight.n, task_rows(args.weight.n));
}

// One dispatch as the paths below see it.
struct MatmulProblem {
  WeightArgs weight;
  uint32_t rows;
  uint32_t flags;
  size_t k_vecs;   // vectors that cover k
  const float* x;  // rows * ldx, each padded with zeros to whole vectors
  size_t ldx;
  const std::byte* w;
  size_t w_bytes;  // of a row
  const float* bias;
  float* y;
  float* scales;  // of the current task's rows
  float* biases;
  float* panel;    // unpacked weights [tile][vector][kTileN][kLanes]
  float* partial;  // accumulators between blocks of k [token row][weight row][kLanes]

  const float* row_scales(uint32_t task_row) const {
    return scales + task_row * groups_per_row(weight);
  }
  const float* row_biases(uint32_t task_row) const {
    return biases + task_row * groups_per_row(weight);
  }
  KR_INLINE void write(uint32_t row, uint32_t n, Vec4 sums) const {
    const uint32_t count = smaller(kTileN, weight.n - n);
    float* out = y + size_t{row} * weight.n + n;
    for (uint32_t i = 0; i < count; ++i) {
      float value = sums[i];
      if ((flags & ops::kMatmulBias) != 0) value += load_scalar(bias + n + i);
      if ((flags & ops::kMatmulAccumulate) != 0) value += out[i];
      out[i] = value;
    }
  }
};

// Few rows: weight rows [n, n + kTileN) of the task, unpacked once for kRows token rows.
template <class Format, uint32_t kRows>
inline void matmul_direct_tile(const MatmulProblem& p, uint32_t row, uint32_t first, uint32_t n) {
  const std::byte* w[kTileN];
  const float* scales[kTileN];
  const float* biases[kTileN];
  for (uint32_t i = 0; i < kTileN; ++i) {
    const uint32_t clamped = smaller(n + i, p.weight.n - 1);  // surplus rows are not written
    w[i] = p.w + size_t{clamped} * p.w_bytes;
    scales[i] = p.row_scales(clamped - first);
    biases[i] = p.row_biases(clamped - first);
  }
  VecF acc[kRows][kTileN] = {};
  const float* x = p.x + row * p.ldx;
  const size_t whole_vecs = p.weight.k / kLanes;
  const size_t group_vecs = Format::kQuantized ? p.weight.group_size / kLanes : 8;
  // The rows of the tile lie one after the other: read ahead as one stream.
  const size_t ahead_bytes = p.w_bytes * group_vecs * kLanes / p.weight.k * kTileN;
  const std::byte* ahead = w[0] + kPrefetchBytes + p.w_bytes * kTileN;
  size_t v = 0;
  for (size_t g = 0; v < whole_vecs; ++g) {
    typename Format::Group group[kTileN];
    for (size_t b = 0; b < ahead_bytes; b += 64) prefetch(ahead + b);
    ahead += ahead_bytes;
    if constexpr (Format::kQuantized) {
      for (uint32_t i = 0; i < kTileN; ++i) group[i] = Format::group(scales[i][g], biases[i][g]);
    }
    for (const size_t end = smaller(v + group_vecs, whole_vecs); v < end; ++v) {
      for (uint32_t i = 0; i < kTileN; ++i) {
        const VecF weights = Format::unpack(w[i], v, group[i]);
        for (uint32_t r = 0; r < kRows; ++r) {
          acc[r][i] = fma(weights, load(x + r * p.ldx + v * kLanes), acc[r][i]);
        }
      }
    }
  }
  if constexpr (!Format::kQuantized) {
    if (v < p.k_vecs) {
      for (uint32_t i = 0; i < kTileN; ++i) {
        const VecF weights = Format::unpack_part(w[i], v, p.weight.k - v * kLanes);
        for (uint32_t r = 0; r < kRows; ++r) {
          acc[r][i] = fma(weights, load(x + r * p.ldx + v * kLanes), acc[r][i]);
        }
      }
    }
  }
  for (uint32_t r = 0; r < kRows; ++r) {
    if constexpr (Format::kPermuted) {
      for (uint32_t i = 0; i < kTileN; ++i) acc[r][i] = natural_order(acc[r][i]);
    }
    p.write(row + r, n, sum4(acc[r][0], acc[r][1], acc[r][2], acc[r][3]));
  }
}

template <class Format, uint32_t kRows>
inline void matmul_direct_rows(const MatmulProblem& p, uint32_t row, uint32_t first,
                               uint32_t last) {
  for (uint32_t n = first; n < last; n += kTileN) {
    matmul_direct_tile<Format, kRows>(p, row, first, n);
  }
}

template <class Format>
inline void matmul_direct_chunk(const MatmulProblem& p, uint32_t row, uint32_t rows, uint32_t first,
                                uint32_t last) {
  switch (rows) {
    case 1:
      return matmul_direct_rows<Format, 1>(p, row, first, last);
    case 2:
      return matmul_direct_rows<Format, 2>(p, row, first, last);
    case 3:
      return matmul_direct_rows<Format, 3>(p, row, first, last);
  }
  if constexpr (kTileM > 3) {
    switch (rows) {
      case 4:
        return matmul_direct_rows<Format, 4>(p, row, first, last);
      case 5:
        return matmul_direct_rows<Format, 5>(p, row, first, last);
      case 6:
        return matmul_direct_rows<Format, 6>(p, row, first, last);
    }
  }
}

template <class Format>
inline void matmul_direct_task(const MatmulProblem& p, uint32_t first, uint32_t last) {
  const uint32_t even = ceil_div(p.rows, ceil_div(p.rows, kTileM));
  for (uint32_t row = 0; row < p.rows; row += even) {
    matmul_direct_chunk<Format>(p, row, smaller(even, p.rows - row), first, last);
  }
}

// A register tile over `vecs` vectors of k. Sums start at 0 or at `partial`, and end there too.
template <uint32_t kRows>
inline void matmul_panel_tile(const float* panel, const float* x, size_t ldx, size_t vecs,
                              float* partial, size_t ld_partial, bool resume) {
  VecF acc[kRows][kTileN] = {};
  if (resume) {
    for (uint32_t r = 0; r < kRows; ++r) {
      for (uint32_t i = 0; i < kTileN; ++i) acc[r][i] = load(partial + r * ld_partial + i * kLanes);
    }
  }
  for (size_t v = 0; v < vecs; ++v) {
    VecF w[kTileN];
    for (uint32_t i = 0; i < kTileN; ++i) w[i] = load(panel + (v * kTileN + i) * kLanes);
    for (uint32_t r = 0; r < kRows; ++r) {
      const VecF xv = load(x + r * ldx + v * kLanes);
      for (uint32_t i = 0; i < kTileN; ++i) acc[r][i] = fma(w[i], xv, acc[r][i]);
    }
  }
  for (uint32_t r = 0; r < kRows; ++r) {
    for (uint32_t i = 0; i < kTileN; ++i) store(partial + r * ld_partial + i * kLanes, acc[r][i]);
  }
}

KR_INLINE void matmul_panel_rows(uint32_t rows, const float* panel, const float* x, size_t ldx,
                                 size_t vecs, float* partial, size_t ld_partial, bool resume) {
  switch (rows) {
    case 1:
      return matmul_panel_tile<1>(panel, x, ldx, vecs, partial, ld_partial, resume);
    case 2:
      return matmul_panel_tile<2>(panel, x, ldx, vecs, partial, ld_partial, resume);
    case 3:
      return matmul_panel_tile<3>(panel, x, ldx, vecs, partial, ld_partial, resume);
  }
  if constexpr (kManyRegisters) {
    switch (rows) {
      case 4:
        return matmul_panel_tile<4>(panel, x, ldx, vecs, partial, ld_partial, resume);
      case 5:
        return matmul_panel_tile<5>(panel, x, ldx, vecs, partial, ld_partial, resume);
      case 6:
        return matmul_panel_tile<6>(panel, x, ldx, vecs, partial, ld_partial, resume);
    }
  }
}

// Unpacks k in [begin, end) of weight rows [first, last) into the panel.
template <class Format>
inline void fill_panel(const MatmulProblem& p, uint32_t first, uint32_t last, size_t begin,
                       size_t end) {
  const size_t tile_floats = ceil_div<size_t>(end - begin, kLanes) * kTileN * kLanes;
  for (uint32_t n = first; n < round_up(last - first, kTileN) + first; ++n) {
    const uint32_t clamped = smaller(n, p.weight.n - 1);
    const uint32_t i = n - first;
    unpack_row<Format>(p.panel + i / kTileN * tile_floats + i % kTileN * kLanes, kTileN * kLanes,
                       p.w + size_t{clamped} * p.w_bytes, p.row_scales(clamped - first),
                       p.row_biases(clamped - first), p.weight.group_size, begin, end);
  }
}

// Many rows: weights are unpacked to f32 once per block and stay in the cache for all of them.
template <class Format>
inline void matmul_panel_task(const MatmulProblem& p, uint32_t first, uint32_t last) {
  const uint32_t tiles = ceil_div(last - first, kTileN);
  const size_t ld_partial = size_t{tiles} * kTileN * kLanes;
  const bool one_block = p.weight.k <= kBlockK;
  for (uint32_t block = 0; block < p.rows; block += kBlockM) {
    const uint32_t block_end = smaller(block + kBlockM, p.rows);
    for (size_t begin = 0; begin < p.weight.k; begin += kBlockK) {
      const size_t end = smaller<size_t>(begin + kBlockK, p.weight.k);
      const size_t vecs = ceil_div<size_t>(end - begin, kLanes);
      if (block == 0 || !one_block) fill_panel<Format>(p, first, last, begin, end);
      for (uint32_t row = block; row < block_end; row += kTileM) {
        const uint32_t count = smaller(kTileM, block_end - row);
        const float* x = p.x + row * p.ldx + begin;
        for (uint32_t tile = 0; tile < tiles; ++tile) {
          float* partial = p.partial + (row - block) * ld_partial + tile * kTileN * kLanes;
          matmul_panel_rows(count, p.panel + tile * vecs * kTileN * kLanes, x, p.ldx, vecs, partial,
                            ld_partial, begin != 0);
          if (end != p.weight.k) continue;
          for (uint32_t r = 0; r < count; ++r) {
            const float* acc = partial + r * ld_partial;
            p.write(row + r, first + tile * kTileN,
                    sum4(load(acc), load(acc + kLanes), load(acc + 2 * kLanes),
                         load(acc + 3 * kLanes)));
          }
        }
      }
    }
  }
}

// x as the path wants it: padded to whole vectors, in the order in which the format unpacks.
inline const float* prepare_x(float* to, const float* x, uint32_t rows, size_t k, size_t ldx,
                              bool permute) {
  for (uint32_t r = 0; r < rows; ++r, x += k, to += ldx) {
    for (size_t v = 0; v * kLanes < k; ++v) {
      const size_t count = smaller<size_t>(kLanes, k - v * kLanes);
      const VecF value = count == kLanes ? load(x + v * kLanes) : load_part(x + v * kLanes, count);
      store(to + v * kLanes, permute ? permuted_order(value) : value);
    }
  }
  return to - rows * ldx;
}

inline void matmul_run(const Call& call, uint32_t begin, uint32_t end, Scratch& scratch) {
  const auto& args = args_of<ops::MatmulArgs>(call);
  const WeightArgs& weight = args.weight;
  MatmulProblem p{};
  p.weight = weight;
  p.rows = row_count(call, args.rows);
  p.flags = args.flags;
  if (p.rows == 0) return;
  p.k_vecs = ceil_div(weight.k, kLanes);
  p.w = buffer_of<const std::byte>(call, 2);
  p.w_bytes = row_bytes(weight);
  p.bias = (args.flags & ops::kMatmulBias) != 0 ? buffer_of<const float>(call, 5) : nullptr;
  p.y = buffer_of<float>(call, 6);
  p.x = buffer_of<const float>(call, 1);
  p.ldx = weight.k;

  const bool direct = p.rows <= kDirectRows;
  const bool permute = direct && weight.format == WeightFormat::kQ4 && Q4Format::kPermuted;
  const bool copy_x = permute || weight.k % kLanes != 0;
  const uint32_t step = task_rows(weight.n);
  const size_t group_floats = round_up(step * groups_per_row(weight), 16);
  const size_t block_k = smaller<size_t>(p.k_vecs * kLanes, kBlockK);
  const size_t panel_floats = direct ? 0 : step * block_k;
  const size_t partial_floats = direct ? 0 : size_t{step} * kLanes * smaller(p.rows, kBlockM);
  const size_t x_floats = copy_x ? p.rows * p.k_vecs * kLanes : 0;
  auto* memory = static_cast<float*>(scratch.reserve(
      (2 * group_floats + panel_floats + partial_floats + x_floats) * sizeof(float)));
  p.scales = memory;
  p.biases = p.scales + group_floats;
  p.panel = p.biases + group_floats;
  p.partial = p.panel + panel_floats;
  if (copy_x) {
    p.ldx = p.k_vecs * kLanes;
    p.x = prepare_x(p.partial + partial_floats, p.x, p.rows, weight.k, p.ldx, permute);
  }
  with_format(weight.format, [&](auto format) {
    using Format = decltype(format);
    for (uint32_t task = begin; task < end; ++task) {
      const uint32_t first = task * step;
      const uint32_t last = smaller(first + step, weight.n);
      if constexpr (Format::kQuantized) {
        load_group_values(p.scales, buffer_of<const void>(call, 3), weight, first, last - first);
        load_group_values(p.biases, buffer_of<const void>(call, 4), weight, first, last - first);
      }
      if (direct) {
        matmul_direct_task<Format>(p, first, last);
      } else {
        matmul_panel_task<Format>(p, first, last);
      }
    }
  });
}

}  // namespace krserve::kernels::KR_CPU_ISA
