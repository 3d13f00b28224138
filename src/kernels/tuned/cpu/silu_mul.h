// silu_mul: a task is a piece of a row.
#pragma once

#include "kernels/ops/silu_mul.h"
#include "kernels/tuned/cpu/math.h"
#include "kernels/tuned/cpu/step.h"

namespace krserve::kernels::KR_CPU_ISA {

inline constexpr uint32_t kSiluPiece = 2048;

KR_INLINE VecF silu(VecF x) {
  return x / (splat(1.0f) + exp(-x));
}

inline uint32_t silu_mul_tasks(const Call& call) {
  const auto& args = args_of<ops::SiluMulArgs>(call);
  return row_count(call, args.rows) * ceil_div(args.dim, kSiluPiece);
}

inline void silu_mul_run(const Call& call, uint32_t begin, uint32_t end, Scratch&) {
  const auto& args = args_of<ops::SiluMulArgs>(call);
  const uint32_t pieces = ceil_div(args.dim, kSiluPiece);
  for (uint32_t task = begin; task < end; ++task) {
    const size_t row = size_t{task / pieces} * args.dim;
    const size_t last = row + smaller(args.dim, (task % pieces + 1) * kSiluPiece);
    float* gate = buffer_of<float>(call, 1);
    const float* up = buffer_of<const float>(call, 2);
    size_t i = row + task % pieces * kSiluPiece;
    for (; i + kLanes <= last; i += kLanes) {
      store(gate + i, silu(load(gate + i)) * load(up + i));
    }
    if (i < last) {
      const size_t rest = last - i;
      store_part(gate + i, silu(load_part(gate + i, rest)) * load_part(up + i, rest), rest);
    }
  }
}

}  // namespace krserve::kernels::KR_CPU_ISA
