// How far a device's logits may be from the reference, and why.
#pragma once

#include <string_view>

namespace krserve::test {

// As a fraction of the largest logit. `arithmetic`: a CPU level ("avx2") or a back end ("cuda").
inline float logit_tolerance(std::string_view arithmetic) {
  // Activations of a 4-bit matmul are rounded to f16 with a power-of-two scale for each row, and
  // dequantized weights to f16: 2^-11 for each factor of a product. Measured on an H100: at most
  // 2.1e-3 over the eight models.
  if (arithmetic == "cuda") return 5e-3F;
  // Activations of a 4-bit matmul are rounded to 16 bits (docs/decisions/005).
  if (arithmetic == "avx512_vnni") return 5e-4F;
  return 1e-4F;  // f32 throughout
}

}  // namespace krserve::test
