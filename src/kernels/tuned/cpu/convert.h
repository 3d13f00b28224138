// f16 and bf16 to and from f32, a vector at a time; rounding is to nearest even.
#pragma once

#include "kernels/ops/types.h"
#include "kernels/tuned/cpu/vec.h"

namespace krserve::kernels::KR_CPU_ISA {

using ops::FloatType;

using VecH = uint16_t __attribute__((vector_size(kVecBytes / 2)));

KR_INLINE VecH load_half(const void* from) {
  VecH v;
  __builtin_memcpy(&v, from, sizeof(v));
  return v;
}

KR_INLINE VecF from_bf16(VecH h) {
#if defined(__AVX512F__)
  return bit_as<VecF>(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bit_as<__m256i>(h)), 16));
#elif defined(__AVX2__)
  return bit_as<VecF>(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bit_as<__m128i>(h)), 16));
#else
  return bit_as<VecF>(__builtin_convertvector(h, VecU) << 16);
#endif
}

KR_INLINE VecF from_f16(VecH h) {
#if defined(__AVX512F__)
  return _mm512_cvtph_ps(bit_as<__m256i>(h));
#elif defined(__AVX2__)
  return _mm256_cvtph_ps(bit_as<__m128i>(h));
#else
  const VecU wide = __builtin_convertvector(h, VecU);
  const VecU magnitude = wide & 0x7fffu;
  // Moves the exponent's bias from 15 to 127; exact for subnormals too.
  const VecU scaled = bit_as<VecU>(bit_as<VecF>(magnitude << 13) * splat(0x1p112f));
  const VecU special = bit_as<VecU>(magnitude >= 0x7c00u) & 0x7f800000u;
  return bit_as<VecF>(scaled | special | (wide & 0x8000u) << 16);
#endif
}

KR_INLINE VecH to_bf16(VecF v) {
  const VecU bits = bit_as<VecU>(v);
  const VecU rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const VecU quiet = (bits >> 16) | 0x40u;
  const VecI nan = v != v;
  return __builtin_convertvector(nan ? quiet : rounded, VecH);
}

KR_INLINE VecH to_f16(VecF v) {
#if defined(__AVX512F__)
  return bit_as<VecH>(_mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#elif defined(__AVX2__)
  return bit_as<VecH>(_mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
#else
  // After F. Giesen, float_to_half_fast3_rtne (public domain).
  const VecU bits = bit_as<VecU>(v);
  const VecU sign = (bits >> 16) & 0x8000u;
  const VecU magnitude = bits & 0x7fffffffu;
  const VecI is_nan = v != v;
  const VecU special = is_nan ? splat_u(0x7e00u) : splat_u(0x7c00u);
  const VecF magic = splat(0.5f);
  const VecU tiny = bit_as<VecU>(bit_as<VecF>(magnitude) + magic) - bit_as<VecU>(magic);
  const VecU odd = (magnitude >> 13) & 1u;
  const VecU normal = (magnitude - (112u << 23) + 0xfffu + odd) >> 13;
  const VecI is_tiny = bit_as<VecI>(magnitude < (113u << 23));
  const VecI is_special = bit_as<VecI>(magnitude >= (143u << 23));
  const VecU finite = is_tiny ? tiny : normal;
  return __builtin_convertvector((is_special ? special : finite) | sign, VecH);
#endif
}

template <FloatType kType>
KR_INLINE VecF load_as_f32(const void* from) {
  if constexpr (kType == FloatType::kF32) {
    return load(from);
  } else if constexpr (kType == FloatType::kF16) {
    return from_f16(load_half(from));
  } else {
    return from_bf16(load_half(from));
  }
}

template <FloatType kType>
inline constexpr size_t kBytesOf = kType == FloatType::kF32 ? 4 : 2;

template <FloatType kType>
KR_INLINE VecF load_part_as_f32(const void* from, size_t count) {
  if (count == kLanes) return load_as_f32<kType>(from);
  VecF whole{};
  __builtin_memcpy(&whole, from, count * kBytesOf<kType>);
  return load_as_f32<kType>(&whole);
}

template <FloatType kType>
KR_INLINE void store_part_as(void* to, VecF v, size_t count) {
  if constexpr (kType == FloatType::kF32) {
    __builtin_memcpy(to, &v, count * 4);
  } else {
    const VecH h = kType == FloatType::kF16 ? to_f16(v) : to_bf16(v);
    __builtin_memcpy(to, &h, count * 2);
  }
}

template <FloatType kType>
inline void convert_to_f32(float* to, const void* from, size_t count) {
  const auto* bytes = static_cast<const std::byte*>(from);
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    store(to + i, load_as_f32<kType>(bytes + i * kBytesOf<kType>));
  }
  if (i < count) {
    store_part(to + i, load_part_as_f32<kType>(bytes + i * kBytesOf<kType>, count - i), count - i);
  }
}

template <FloatType kType>
inline void convert_from_f32(void* to, const float* from, size_t count) {
  auto* bytes = static_cast<std::byte*>(to);
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    store_part_as<kType>(bytes + i * kBytesOf<kType>, load(from + i), kLanes);
  }
  if (i < count) {
    store_part_as<kType>(bytes + i * kBytesOf<kType>, load_part(from + i, count - i), count - i);
  }
}

inline void to_f32(float* to, const void* from, FloatType type, size_t count) {
  switch (type) {
    case FloatType::kF32:
      return convert_to_f32<FloatType::kF32>(to, from, count);
    case FloatType::kF16:
      return convert_to_f32<FloatType::kF16>(to, from, count);
    case FloatType::kBF16:
      return convert_to_f32<FloatType::kBF16>(to, from, count);
  }
}

inline void from_f32(void* to, const float* from, FloatType type, size_t count) {
  switch (type) {
    case FloatType::kF32:
      return convert_from_f32<FloatType::kF32>(to, from, count);
    case FloatType::kF16:
      return convert_from_f32<FloatType::kF16>(to, from, count);
    case FloatType::kBF16:
      return convert_from_f32<FloatType::kBF16>(to, from, count);
  }
}

}  // namespace krserve::kernels::KR_CPU_ISA
