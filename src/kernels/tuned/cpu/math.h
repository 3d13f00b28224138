// exp of a vector.
#pragma once

#include "kernels/tuned/cpu/vec.h"

namespace krserve::kernels::KR_CPU_ISA {

// Range reduction and polynomial of Cephes' expf (S. Moshier): x = n ln2 + r, |r| <= ln2 / 2.
// Relative error below 2e-7. exp(-inf) = 0, exp(0) = 1, exp(NaN) = NaN; results below 2^-126 are 0.
KR_INLINE VecF exp(VecF x) {
  const VecF kHigh = splat(88.8f), kLow = splat(-87.33654f);
  const VecI underflow = x < kLow;
  VecF clamped = x > kHigh ? kHigh : x;  // a NaN stays
  clamped = underflow ? kLow : clamped;
  const VecF magic = splat(0x1.8p23f);  // adding it rounds to an integer
  const VecF shifted = fma(clamped, splat(1.44269504088896341f), magic);
  const VecF n = shifted - magic;
  VecF r = fma(n, splat(-0.693359375f), clamped);
  r = fma(n, splat(2.12194440e-4f), r);
  VecF p = fma(splat(1.9875691500e-4f), r, splat(1.3981999507e-3f));
  p = fma(p, r, splat(8.3334519073e-3f));
  p = fma(p, r, splat(4.1665795894e-2f));
  p = fma(p, r, splat(1.6666665459e-1f));
  p = fma(p, r, splat(5.0000001201e-1f));
  p = fma(p, r * r, r) + splat(1.0f);
  // n may be 128: 2^n in two factors.
  const VecI exponent = bit_as<VecI>(shifted) - bit_as<VecI>(magic);
  const VecI half = exponent >> 1;
  const VecF scale_a = bit_as<VecF>((bit_as<VecU>(half) + 127u) << 23);
  const VecF scale_b = bit_as<VecF>((bit_as<VecU>(exponent) - bit_as<VecU>(half) + 127u) << 23);
  const VecF result = p * scale_a * scale_b;
  return underflow ? VecF{} : result;
}

}  // namespace krserve::kernels::KR_CPU_ISA
