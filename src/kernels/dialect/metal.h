// The dialect as the Metal Shading Language sees it: 3.1 or later, math mode "safe".
//
// Below 3.2 there is no order between threadgroups: nothing may be launched that hands over
// (last_to_arrive with more than one).
#pragma once

#if defined(__METAL_VERSION__)
#include "kernels/dialect/language.h"

#define KR_DEVICE device
#define KR_CONSTANT constant
#define KR_TG threadgroup
#define KR_THREAD thread
// Without it, stores are lost between the threadgroups of a launch (seen on M1).
#if __METAL_VERSION__ >= 320
#define KR_COHERENT coherent(device) device
#else
#define KR_COHERENT device
#endif
#define KR_FN static inline __attribute__((always_inline))
#define KR_UNROLL _Pragma("clang loop unroll(full)")
#define KR_UNROLL_BY(n) KR_PRAGMA_(clang loop unroll_count(n))
#define KR_PRAGMA_(text) _Pragma(#text)
#define KR_SHARED(T, name, count) alignas(16) threadgroup T name[count]
// A kernel of at most `threads` threads; its statements, without braces around them, see `params`
// and `self`.
#define KR_KERNEL(name, threads, ...)                                                             \
  [[max_total_threads_per_threadgroup(threads)]] kernel void name(                                \
      constant krserve::kernels::DialectParams& params [[buffer(0)]],                             \
      uint3 kr_group [[threadgroup_position_in_grid]], uint3 kr_groups [[threadgroups_per_grid]], \
      uint32_t kr_index [[thread_index_in_threadgroup]],                                          \
      uint3 kr_count [[threads_per_threadgroup]], uint32_t kr_lane [[thread_index_in_simdgroup]], \
      uint32_t kr_simd [[simdgroup_index_in_threadgroup]]) {                                      \
    const krserve::kernels::KrThread self = {                                                     \
        kr_group.x, kr_group.y, kr_group.z, kr_groups.x, kr_groups.y,    kr_groups.z,             \
        kr_index,   kr_count.x, kr_lane,    kr_simd,     kr_count.x / 32};                        \
    static_cast<void>(self);                                                                      \
    __VA_ARGS__                                                                                   \
  }

namespace krserve {
namespace kernels {

// The bytes of gpu_launch.h's DialectParams; buffers are GPU addresses.
struct DialectParams {
  metal::uint4 args[6];
  uint64_t buffers[16];
};

enum class kr_half : uint16_t {};
enum class kr_bfloat : uint16_t {};
using kr_uint4 = metal::uint4;
using kr_float4 = metal::float4;

struct KrThread {
  uint32_t group_x, group_y, group_z;
  uint32_t groups_x, groups_y, groups_z;
  uint32_t index;
  uint32_t count;
  uint32_t lane, simd, simds;
};

KR_FN void kr_barrier() {
  metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup | metal::mem_flags::mem_device);
}
KR_FN void kr_shared_barrier() {
  metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup);
}
KR_FN void kr_simd_barrier() {
  metal::simdgroup_barrier(metal::mem_flags::mem_threadgroup);
}
KR_FN void kr_device_fence() {
#if __METAL_VERSION__ >= 320
  metal::atomic_thread_fence(metal::mem_flags::mem_device, metal::memory_order_seq_cst,
                             metal::thread_scope_device);
#endif
}

template <class T>
KR_FN T kr_shuffle_xor(T value, uint32_t mask) {
  return metal::simd_shuffle_xor(value, uint16_t(mask));
}
template <class T>
KR_FN T kr_shuffle_up(T value, uint32_t delta) {
  return metal::simd_shuffle_up(value, uint16_t(delta));
}
// Metal shuffles 32 bits at a time.
KR_FN uint64_t kr_shuffle_up(uint64_t value, uint32_t delta) {
  const uint32_t low = metal::simd_shuffle_up(uint32_t(value), uint16_t(delta));
  return uint64_t(metal::simd_shuffle_up(uint32_t(value >> 32), uint16_t(delta))) << 32 | low;
}
KR_FN uint64_t kr_shuffle_xor(uint64_t value, uint32_t mask) {
  const uint32_t low = metal::simd_shuffle_xor(uint32_t(value), uint16_t(mask));
  return uint64_t(metal::simd_shuffle_xor(uint32_t(value >> 32), uint16_t(mask))) << 32 | low;
}

// A simdgroup's 8 x 8 floats; only the functions know which lane has which.
using kr_matrix8x8 = metal::simdgroup_float8x8;

KR_FN void kr_matrix_fill(thread kr_matrix8x8& matrix, float value) {
  matrix = metal::make_filled_simdgroup_matrix<float, 8, 8>(value);
}
// Rows of eight, `stride` floats apart.
KR_FN void kr_matrix_load(thread kr_matrix8x8& matrix, threadgroup const float* from,
                          uint32_t stride, bool transposed) {
  // The compiler is given a constant, whatever it makes of the parameter.
  if (transposed) {
    metal::simdgroup_load(matrix, from, stride, metal::ulong2(0), true);
  } else {
    metal::simdgroup_load(matrix, from, stride, metal::ulong2(0), false);
  }
}
KR_FN void kr_matrix_store(thread kr_matrix8x8& matrix, threadgroup float* to, uint32_t stride) {
  metal::simdgroup_store(matrix, to, stride);
}
// sum += a * b
KR_FN void kr_matrix_multiply_add(thread kr_matrix8x8& sum, thread kr_matrix8x8& a,
                                  thread kr_matrix8x8& b) {
  metal::simdgroup_multiply_accumulate(sum, a, b, sum);
}

// In the order of the other back ends, not simd_sum's.
KR_FN float kr_simd_sum(float value) {
  KR_UNROLL
  for (uint32_t mask = 16; mask > 0; mask /= 2) value += kr_shuffle_xor(value, mask);
  return value;
}
KR_FN float kr_simd_max(float value) {
  return metal::simd_max(value);
}
KR_FN uint32_t kr_simd_sum(uint32_t value) {
  return metal::simd_sum(value);
}
KR_FN uint32_t kr_simd_max(uint32_t value) {
  return metal::simd_max(value);
}
KR_FN uint32_t kr_simd_min(uint32_t value) {
  return metal::simd_min(value);
}
KR_FN uint64_t kr_simd_sum(uint64_t value) {
  KR_UNROLL
  for (uint32_t mask = 16; mask > 0; mask /= 2) value += kr_shuffle_xor(value, mask);
  return value;
}

KR_FN uint32_t kr_atomic_add(device uint32_t* at, uint32_t value) {
  return metal::atomic_fetch_add_explicit(reinterpret_cast<device metal::atomic_uint*>(at), value,
                                          metal::memory_order_relaxed);
}
KR_FN uint32_t kr_atomic_add(threadgroup uint32_t* at, uint32_t value) {
  return metal::atomic_fetch_add_explicit(reinterpret_cast<threadgroup metal::atomic_uint*>(at),
                                          value, metal::memory_order_relaxed);
}

KR_FN float kr_f32(kr_half value) {
  return float(as_type<half>(uint16_t(value)));
}
KR_FN float kr_f32(kr_bfloat value) {
  return as_type<float>(uint32_t(uint16_t(value)) << 16);
}
KR_FN kr_half kr_h16(float value) {
  return kr_half(as_type<uint16_t>(half(value)));
}
KR_FN kr_bfloat kr_bf16(float value) {
  return kr_bfloat(as_type<uint16_t>(bfloat(value)));
}

KR_FN float kr_float_of_bits(uint32_t bits) {
  return as_type<float>(bits);
}
KR_FN uint32_t kr_bits_of_float(float value) {
  return as_type<uint32_t>(value);
}
KR_FN float kr_fma(float a, float b, float c) {
  return metal::fma(a, b, c);
}
KR_FN float kr_exp(float value) {
  return metal::precise::exp(value);
}
KR_FN float kr_rsqrt(float value) {
  return metal::precise::rsqrt(value);
}
KR_FN float kr_divide(float a, float b) {
  return metal::precise::divide(a, b);
}
KR_FN float kr_fmax(float a, float b) {
  return metal::fmax(a, b);
}
KR_FN float kr_infinity() {
  return as_type<float>(0x7f800000u);
}

template <class T>
KR_FN uint64_t kr_address(device T* pointer) {
  return reinterpret_cast<uint64_t>(pointer);
}
template <class T>
KR_FN device T* kr_pointer(uint64_t address) {
  return reinterpret_cast<device T*>(address);
}

}  // namespace kernels
}  // namespace krserve
#endif  // __METAL_VERSION__
