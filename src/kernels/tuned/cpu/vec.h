// Vectors of the instruction set at hand: 4, 8 or 16 floats, and the few operations kernels need.
//
// Code of tuned/cpu is compiled once per instruction set, each time in namespace KR_CPU_ISA. It
// must not use templates or inline functions of the standard library: the linker could keep the
// copy that was compiled for AVX-512 and run it on a processor without.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "kernels/cpu_kernels.h"

#ifndef KR_CPU_ISA
#define KR_CPU_ISA portable
#endif
#define KR_INLINE inline __attribute__((always_inline))

namespace krserve::kernels::KR_CPU_ISA {

#if defined(__AVX512F__)
inline constexpr uint32_t kLanes = 16;
inline constexpr bool kManyRegisters = true;
#elif defined(__AVX2__)
inline constexpr uint32_t kLanes = 8;
inline constexpr bool kManyRegisters = false;
#else
inline constexpr uint32_t kLanes = 4;
#if defined(__aarch64__)
inline constexpr bool kManyRegisters = true;
#else
inline constexpr bool kManyRegisters = false;
#endif
#endif
inline constexpr size_t kVecBytes = kLanes * sizeof(float);

using VecF = float __attribute__((vector_size(kVecBytes)));
using VecI = int32_t __attribute__((vector_size(kVecBytes)));
using VecU = uint32_t __attribute__((vector_size(kVecBytes)));
using Vec4 = float __attribute__((vector_size(16)));

KR_INLINE VecF splat(float value) {
  return value - VecF{};
}
KR_INLINE VecI splat_i(int32_t value) {
  return value - VecI{};
}
KR_INLINE VecU splat_u(uint32_t value) {
  return value - VecU{};
}

// {0, 1, 2, ...}.
KR_INLINE VecI lane_index() {
  VecI lane{};
  for (uint32_t i = 0; i < kLanes; ++i) lane[i] = static_cast<int32_t>(i);
  return lane;
}

template <class To, class From>
KR_INLINE To bit_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof(to));
  return to;
}

// Addresses may have any alignment.
KR_INLINE VecF load(const void* from) {
  VecF v;
  __builtin_memcpy(&v, from, sizeof(v));
  return v;
}
KR_INLINE void store(void* to, VecF v) {
  __builtin_memcpy(to, &v, sizeof(v));
}

// The first `count` <= kLanes elements; the others are 0.
KR_INLINE VecF load_part(const void* from, size_t count) {
  if (count == kLanes) return load(from);
  VecF v{};
  __builtin_memcpy(&v, from, count * sizeof(float));
  return v;
}
KR_INLINE void store_part(void* to, VecF v, size_t count) {
  if (count == kLanes) return store(to, v);
  __builtin_memcpy(to, &v, count * sizeof(float));
}

KR_INLINE float load_scalar(const void* from) {
  float v;
  __builtin_memcpy(&v, from, sizeof(v));
  return v;
}

// Asks for the line of an address, which need not exist.
KR_INLINE void prefetch(const void* address) {
  __builtin_prefetch(address, 0, 3);
}

// a * b + c: fused wherever the instruction set can, never left to the compiler's choice.
KR_INLINE VecF fma(VecF a, VecF b, VecF c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__)
  return _mm256_fmadd_ps(a, b, c);
#elif defined(__aarch64__)
  return vfmaq_f32(c, a, b);
#else
  return a * b + c;
#endif
}

// The scalar that fma() computes in each lane.
KR_INLINE float fma1(float a, float b, float c) {
#if defined(__AVX2__) || defined(__aarch64__)
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}

// Lanes of `a` where the mask is all ones, of `b` where it is zero.
KR_INLINE VecF select(VecI mask, VecF a, VecF b) {
  return mask ? a : b;
}
KR_INLINE VecI select(VecI mask, VecI a, VecI b) {
  return mask ? a : b;
}

// b where either is NaN.
KR_INLINE VecF max(VecF a, VecF b) {
#if defined(__AVX512F__)
  return _mm512_max_ps(a, b);
#elif defined(__AVX2__)
  return _mm256_max_ps(a, b);
#else
  return a > b ? a : b;
#endif
}

// {sum(a), sum(b), sum(c), sum(d)}, each over halves: lane l with l + W/2, then W/4, ...
KR_INLINE Vec4 sum4(VecF a, VecF b, VecF c, VecF d) {
#if defined(__AVX512F__)
  const VecF ab = _mm512_shuffle_f32x4(a, b, 0x44) + _mm512_shuffle_f32x4(a, b, 0xee);
  const VecF cd = _mm512_shuffle_f32x4(c, d, 0x44) + _mm512_shuffle_f32x4(c, d, 0xee);
  VecF q = _mm512_shuffle_f32x4(ab, cd, 0x88) + _mm512_shuffle_f32x4(ab, cd, 0xdd);
  q += VecF(_mm512_permute_ps(q, 0x4e));
  q += VecF(_mm512_permute_ps(q, 0xb1));
  const __m512i pick = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  return _mm512_castps512_ps128(_mm512_permutexvar_ps(pick, q));
#else
#if defined(__AVX2__)
  const Vec4 a4 = _mm256_castps256_ps128(a) + _mm256_extractf128_ps(a, 1);
  const Vec4 b4 = _mm256_castps256_ps128(b) + _mm256_extractf128_ps(b, 1);
  const Vec4 c4 = _mm256_castps256_ps128(c) + _mm256_extractf128_ps(c, 1);
  const Vec4 d4 = _mm256_castps256_ps128(d) + _mm256_extractf128_ps(d, 1);
#else
  const Vec4 a4 = a, b4 = b, c4 = c, d4 = d;
#endif
  const Vec4 ab =
      __builtin_shufflevector(a4, b4, 0, 1, 4, 5) + __builtin_shufflevector(a4, b4, 2, 3, 6, 7);
  const Vec4 cd =
      __builtin_shufflevector(c4, d4, 0, 1, 4, 5) + __builtin_shufflevector(c4, d4, 2, 3, 6, 7);
  return __builtin_shufflevector(ab, cd, 0, 2, 4, 6) + __builtin_shufflevector(ab, cd, 1, 3, 5, 7);
#endif
}

KR_INLINE float sum(VecF v) {
  return sum4(v, v, v, v)[0];
}

KR_INLINE float max_lane(VecF v) {
  float best = v[0];
  for (uint32_t i = 1; i < kLanes; ++i) best = best > v[i] ? best : v[i];
  return best;
}

#if defined(__AVX512F__)
KR_INLINE VecF interleave_low(VecF a, VecF b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
KR_INLINE VecF interleave_high(VecF a, VecF b) {
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15,
                                 31);
}
#elif defined(__AVX2__)
KR_INLINE VecF interleave_low(VecF a, VecF b) {
  return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}
KR_INLINE VecF interleave_high(VecF a, VecF b) {
  return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}
#else
KR_INLINE VecF interleave_low(VecF a, VecF b) {
  return __builtin_shufflevector(a, b, 0, 4, 1, 5);
}
KR_INLINE VecF interleave_high(VecF a, VecF b) {
  return __builtin_shufflevector(a, b, 2, 6, 3, 7);
}
#endif

// In place: element j of vector i becomes element i of vector j.
KR_INLINE void transpose(VecF (&rows)[kLanes]) {
  constexpr uint32_t kHalf = kLanes / 2;
  for (uint32_t step = 1; step < kLanes; step *= 2) {
    VecF next[kLanes];
    for (uint32_t i = 0; i < kHalf; ++i) {
      next[2 * i] = interleave_low(rows[i], rows[i + kHalf]);
      next[2 * i + 1] = interleave_high(rows[i], rows[i + kHalf]);
    }
    for (uint32_t i = 0; i < kLanes; ++i) rows[i] = next[i];
  }
}

template <class T>
KR_INLINE T smaller(T a, T b) {
  return b < a ? b : a;
}
template <class T>
KR_INLINE T larger(T a, T b) {
  return a < b ? b : a;
}
template <class T>
KR_INLINE T ceil_div(T a, T b) {
  return (a + b - 1) / b;
}
KR_INLINE size_t round_up(size_t value, size_t to) {
  return (value + to - 1) / to * to;
}

}  // namespace krserve::kernels::KR_CPU_ISA
