// Types shared by the arguments of all ops: plain data, the same bytes on every back end.
#pragma once

#include "kernels/dialect/language.h"

namespace krserve::ops {

// How the elements of a weight matrix are stored. kQ4 and kQ8 are MLX's affine format: unsigned
// integers packed little end first into uint32 words, w = scale * q + bias per group along k.
enum class WeightFormat : uint32_t { kF32 = 0, kF16 = 1, kBF16 = 2, kQ4 = 3, kQ8 = 4 };

enum class FloatType : uint32_t { kF32 = 0, kF16 = 1, kBF16 = 2 };

constexpr uint32_t bytes_of(FloatType type) {
  return type == FloatType::kF32 ? 4 : 2;
}

// A weight matrix [n, k], row-major. group_size and scale_type matter for kQ4 and kQ8 only.
struct WeightArgs {
  uint32_t n;
  uint32_t k;
  WeightFormat format;
  FloatType scale_type;
  uint32_t group_size;
};

// Which count of the step's header says how many rows an op works on.
enum class RowCount : uint32_t { kRows = 0, kSamples = 1 };

}  // namespace krserve::ops
