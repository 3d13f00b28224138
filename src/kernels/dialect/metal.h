// The dialect as the Metal Shading Language sees it (3.2 or later, math mode "safe").
#pragma once

#if defined(__METAL_VERSION__)
#include <metal_stdlib>

#define KR_DEVICE device
#define KR_CONSTANT constant
#define KR_TG threadgroup
#define KR_THREAD thread
#define KR_CONST constant constexpr
#define KR_FN static inline __attribute__((always_inline))
#define KR_UNROLL _Pragma("clang loop unroll(full)")
#define KR_UNROLL_BY(n) KR_PRAGMA_(clang loop unroll_count(n))
#define KR_PRAGMA_(text) _Pragma(#text)
#define KR_SHARED(T, name, count) alignas(16) threadgroup T name[count]
// A kernel of at most `threads` threads; its statements see `params` and `self`.
#define KR_KERNEL(name, threads, ...)                                                             \
  [[kernel, max_total_threads_per_threadgroup(threads)]] void name(                               \
      constant krserve::kernels::DialectParams& params [[buffer(0)]],                             \
      uint3 kr_group [[threadgroup_position_in_grid]], uint3 kr_groups [[threadgroups_per_grid]], \
      uint kr_index [[thread_index_in_threadgroup]], uint3 kr_count [[threads_per_threadgroup]],  \
      uint kr_lane [[thread_index_in_simdgroup]],                                                 \
      uint kr_simd [[simdgroup_index_in_threadgroup]]) {                                          \
    const krserve::kernels::KrThread self = {                                                     \
        kr_group.x, kr_group.y, kr_group.z, kr_groups.x, kr_groups.y,    kr_groups.z,             \
        kr_index,   kr_count.x, kr_lane,    kr_simd,     kr_count.x / 32};                        \
    __VA_ARGS__                                                                                   \
  }

namespace krserve {
namespace kernels {

// The bytes of gpu_launch.h's DialectParams; buffers are GPU addresses.
struct DialectParams {
  metal::uint4 args[6];
  ulong buffers[16];
};

enum class kr_half : ushort {};
enum class kr_bfloat : ushort {};
using kr_uint4 = metal::uint4;
using kr_float4 = metal::float4;

struct KrThread {
  uint group_x, group_y, group_z;
  uint groups_x, groups_y, groups_z;
  uint index;
  uint count;
  uint lane, simd, simds;
};

KR_FN void kr_barrier() {
  metal::threadgroup_barrier(metal::mem_flags::mem_threadgroup | metal::mem_flags::mem_device);
}
KR_FN void kr_simd_barrier() {
  metal::simdgroup_barrier(metal::mem_flags::mem_threadgroup);
}
KR_FN void kr_device_fence() {
  metal::atomic_thread_fence(metal::mem_flags::mem_device, metal::memory_order_seq_cst,
                             metal::thread_scope_device);
}

template <class T>
KR_FN T kr_shuffle_xor(T value, uint mask) {
  return metal::simd_shuffle_xor(value, ushort(mask));
}
template <class T>
KR_FN T kr_shuffle_up(T value, uint delta) {
  return metal::simd_shuffle_up(value, ushort(delta));
}
// Metal shuffles 32 bits at a time.
KR_FN ulong kr_shuffle_up(ulong value, uint delta) {
  const uint low = metal::simd_shuffle_up(uint(value), ushort(delta));
  return ulong(metal::simd_shuffle_up(uint(value >> 32), ushort(delta))) << 32 | low;
}
KR_FN ulong kr_shuffle_xor(ulong value, uint mask) {
  const uint low = metal::simd_shuffle_xor(uint(value), ushort(mask));
  return ulong(metal::simd_shuffle_xor(uint(value >> 32), ushort(mask))) << 32 | low;
}
// In the order of the other back ends, not simd_sum's.
KR_FN float kr_simd_sum(float value) {
  KR_UNROLL
  for (uint mask = 16; mask > 0; mask /= 2) value += kr_shuffle_xor(value, mask);
  return value;
}
KR_FN float kr_simd_max(float value) {
  return metal::simd_max(value);
}
KR_FN uint kr_simd_sum(uint value) {
  return metal::simd_sum(value);
}
KR_FN uint kr_simd_max(uint value) {
  return metal::simd_max(value);
}
KR_FN uint kr_simd_min(uint value) {
  return metal::simd_min(value);
}
KR_FN ulong kr_simd_sum(ulong value) {
  KR_UNROLL
  for (uint mask = 16; mask > 0; mask /= 2) value += kr_shuffle_xor(value, mask);
  return value;
}

KR_FN uint kr_atomic_add(device uint* at, uint value) {
  return metal::atomic_fetch_add_explicit(reinterpret_cast<device metal::atomic_uint*>(at), value,
                                          metal::memory_order_relaxed);
}
KR_FN uint kr_atomic_add(threadgroup uint* at, uint value) {
  return metal::atomic_fetch_add_explicit(reinterpret_cast<threadgroup metal::atomic_uint*>(at),
                                          value, metal::memory_order_relaxed);
}

KR_FN float kr_f32(kr_half value) {
  return float(as_type<half>(ushort(value)));
}
KR_FN float kr_f32(kr_bfloat value) {
  return as_type<float>(uint(ushort(value)) << 16);
}
KR_FN kr_half kr_h16(float value) {
  return kr_half(as_type<ushort>(half(value)));
}
KR_FN kr_bfloat kr_bf16(float value) {
  return kr_bfloat(as_type<ushort>(bfloat(value)));
}

KR_FN float kr_float_of_bits(uint bits) {
  return as_type<float>(bits);
}
KR_FN uint kr_bits_of_float(float value) {
  return as_type<uint>(value);
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
KR_FN ulong kr_address(device T* pointer) {
  return reinterpret_cast<ulong>(pointer);
}
template <class T>
KR_FN device T* kr_pointer(ulong address) {
  return reinterpret_cast<device T*>(address);
}

}  // namespace kernels
}  // namespace krserve
#endif  // __METAL_VERSION__
