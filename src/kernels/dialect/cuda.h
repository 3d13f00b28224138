// The dialect as CUDA sees it.
#pragma once

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/gpu_launch.h"

#define KR_DEVICE
#define KR_CONSTANT
#define KR_TG
#define KR_THREAD
#define KR_COHERENT
#define KR_FN __device__ __forceinline__
#define KR_UNROLL _Pragma("unroll")
#define KR_UNROLL_BY(n) KR_PRAGMA_(unroll n)
#define KR_PRAGMA_(text) _Pragma(#text)
#define KR_SHARED(T, name, count) __shared__ __align__(16) T name[count]
// A kernel of at most `threads` threads; its statements, without braces around them, see `params`
// and `self`.
#define KR_KERNEL(name, threads, ...)                                               \
  __global__ void __launch_bounds__(threads)                                        \
      name(const __grid_constant__ ::krserve::kernels::DialectParams params) {      \
    ::krserve::kernels::kr_begin_kernel();                                          \
    const ::krserve::kernels::KrThread self = ::krserve::kernels::kr_this_thread(); \
    __VA_ARGS__                                                                     \
  }

namespace krserve::kernels {

// Launches may overlap: the next one may start, and this one waits here for the results of those
// before it.
__device__ __forceinline__ void kr_begin_kernel() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;\ngriddepcontrol.wait;\n" ::: "memory");
#endif
}

enum class kr_half : uint16_t {};
enum class kr_bfloat : uint16_t {};
using kr_uint4 = uint4;
using kr_float4 = float4;

// Where a thread is in its threadgroup, and the threadgroup in the grid.
struct KrThread {
  uint32_t group_x, group_y, group_z;
  uint32_t groups_x, groups_y, groups_z;
  uint32_t index;  // in the threadgroup
  uint32_t count;  // threads of the threadgroup, a multiple of 32
  uint32_t lane, simd, simds;
};

KR_FN KrThread kr_this_thread() {
  return {blockIdx.x,  blockIdx.y, blockIdx.z,        gridDim.x,        gridDim.y,      gridDim.z,
          threadIdx.x, blockDim.x, threadIdx.x & 31u, threadIdx.x >> 5, blockDim.x >> 5};
}

KR_FN void kr_barrier() {
  __syncthreads();
}
KR_FN void kr_simd_barrier() {
  __syncwarp();
}
// What was written to device memory before is seen by whoever sees what is written after.
KR_FN void kr_device_fence() {
  __threadfence();
}

template <class T>
KR_FN T kr_shuffle_xor(T value, uint32_t mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
// The value of the lane `delta` below; the lanes below `delta` keep theirs.
template <class T>
KR_FN T kr_shuffle_up(T value, uint32_t delta) {
  return __shfl_up_sync(0xffffffffu, value, delta);
}
KR_FN float kr_simd_sum(float value) {
  KR_UNROLL
  for (uint32_t mask = 16; mask > 0; mask /= 2) value += kr_shuffle_xor(value, mask);
  return value;
}
// fmaxf: a NaN loses.
KR_FN float kr_simd_max(float value) {
  KR_UNROLL
  for (uint32_t mask = 16; mask > 0; mask /= 2) value = fmaxf(value, kr_shuffle_xor(value, mask));
  return value;
}
KR_FN uint32_t kr_simd_sum(uint32_t value) {
  return __reduce_add_sync(0xffffffffu, value);
}
KR_FN uint32_t kr_simd_max(uint32_t value) {
  return __reduce_max_sync(0xffffffffu, value);
}
KR_FN uint32_t kr_simd_min(uint32_t value) {
  return __reduce_min_sync(0xffffffffu, value);
}
KR_FN uint64_t kr_simd_sum(uint64_t value) {
  KR_UNROLL
  for (uint32_t mask = 16; mask > 0; mask /= 2) {
    value += kr_shuffle_xor(static_cast<unsigned long long>(value), mask);
  }
  return value;
}

// Relaxed; the former value.
KR_FN uint32_t kr_atomic_add(uint32_t* at, uint32_t value) {
  return atomicAdd(at, value);
}

KR_FN float kr_f32(kr_half value) {
  return __half2float(__ushort_as_half(static_cast<uint16_t>(value)));
}
KR_FN float kr_f32(kr_bfloat value) {
  return __uint_as_float(static_cast<uint32_t>(value) << 16);
}
KR_FN kr_half kr_h16(float value) {
  return static_cast<kr_half>(__half_as_ushort(__float2half_rn(value)));
}
KR_FN kr_bfloat kr_bf16(float value) {
  return static_cast<kr_bfloat>(__bfloat16_as_ushort(__float2bfloat16_rn(value)));
}

KR_FN float kr_float_of_bits(uint32_t bits) {
  return __uint_as_float(bits);
}
KR_FN uint32_t kr_bits_of_float(float value) {
  return __float_as_uint(value);
}
KR_FN float kr_fma(float a, float b, float c) {
  return __fmaf_rn(a, b, c);
}
KR_FN float kr_exp(float value) {
  return expf(value);
}
KR_FN float kr_rsqrt(float value) {
  return rsqrtf(value);
}
KR_FN float kr_divide(float a, float b) {
  return __fdiv_rn(a, b);
}
KR_FN float kr_fmax(float a, float b) {
  return fmaxf(a, b);
}
KR_FN float kr_infinity() {
  return __int_as_float(0x7f800000);
}

template <class T>
KR_FN uint64_t kr_address(T* pointer) {
  return reinterpret_cast<uint64_t>(pointer);
}
template <class T>
KR_FN T* kr_pointer(uint64_t address) {
  return reinterpret_cast<T*>(address);
}

}  // namespace krserve::kernels
#endif  // __CUDACC__
