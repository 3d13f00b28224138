// From run-time values to template arguments: the kernels are compiled for each.
#pragma once

#include <type_traits>

#include "kernels/tuned/cuda/matmul_kernels.h"

namespace krserve::kernels::cuda {

// f(std::integral_constant<WeightFormat, format>); a zero of its result for f32, which has no
// kernel.
template <class F>
auto with_format(ops::WeightFormat format, F f) {
  using ops::WeightFormat;
  using Q4 = std::integral_constant<WeightFormat, WeightFormat::kQ4>;
  switch (format) {
    case WeightFormat::kQ4:
      return f(Q4{});
    case WeightFormat::kQ8:
      return f(std::integral_constant<WeightFormat, WeightFormat::kQ8>{});
    case WeightFormat::kF16:
      return f(std::integral_constant<WeightFormat, WeightFormat::kF16>{});
    case WeightFormat::kBF16:
      return f(std::integral_constant<WeightFormat, WeightFormat::kBF16>{});
    case WeightFormat::kF32:
      break;
  }
  return decltype(f(Q4{})){};
}

// f(std::integral_constant<uint32_t, rows>).
template <class F>
auto with_rows(TiledRows rows, F f) {
  switch (rows) {
    case TiledRows::k32:
      return f(std::integral_constant<uint32_t, 32>{});
    case TiledRows::k64:
      return f(std::integral_constant<uint32_t, 64>{});
    case TiledRows::k128:
      break;
  }
  return f(std::integral_constant<uint32_t, 128>{});
}

}  // namespace krserve::kernels::cuda
