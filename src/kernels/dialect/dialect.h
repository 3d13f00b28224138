// The language of single-source kernels: CUDA, the SIMT emulator on the host, or Metal, whichever
// compiler reads it.
//
// Rules that all of them together demand of a kernel:
// - every pointer and reference names its space: KR_DEVICE, KR_CONSTANT, KR_TG or KR_THREAD;
// - kr_half and kr_bfloat are storage: read with kr_f32, written with kr_h16 and kr_bf16;
// - no lambda, recursion, double, virtual, function pointer or mutable global;
// - threadgroup variables (KR_SHARED) only in the outermost scope of a KR_KERNEL;
// - what threadgroups of one launch hand to each other is written and read through KR_COHERENT
//   pointers, where last_to_arrive orders it;
// - a simdgroup has 32 lanes, and every one of them reaches a SIMD operation;
// - all threads of a threadgroup reach a barrier, or none: a threadgroup may leave as a whole.
//   kr_shared_barrier, which CUDA's has not either, orders threadgroup memory alone;
// - kr_matrix8x8 belongs to a simdgroup: its functions are SIMD operations, with barriers between
//   them and what lanes themselves do with the memory. CUDA's dialect does not have it;
// - products that are summed use kr_fma, so that no compiler's choice changes a bit.
#pragma once

#include "kernels/dialect/language.h"

#if defined(__METAL_VERSION__)
#include "kernels/dialect/metal.h"
#elif defined(__CUDACC__)
#include "kernels/dialect/cuda.h"
#else
#include "kernels/dialect/simt.h"
#endif

namespace krserve::kernels {

KR_CONST uint32_t kLanes = 32;
// Buffer that holds the workspace's address, free in every op (rope_kv_write binds up to 14).
KR_CONST uint32_t kWorkspaceBuffer = 15;
// The end of the args is the launch's own: kLaunchValues numbers that no op's Args reach.
KR_CONST uint32_t kLaunchValuesOffset = 80;
KR_CONST uint32_t kLaunchValues = 4;

template <class T>
KR_FN KR_CONSTANT const T& kr_args(KR_CONSTANT const DialectParams& params) {
  static_assert(sizeof(T) <= kLaunchValuesOffset, "the launch's values lie behind the args");
  return *reinterpret_cast<KR_CONSTANT const T*>(params.args);
}

KR_FN uint32_t kr_launch_value(KR_CONSTANT const DialectParams& params, uint32_t index) {
  return reinterpret_cast<KR_CONSTANT const uint32_t*>(
      params.args)[kLaunchValuesOffset / sizeof(uint32_t) + index];
}

template <class T>
KR_FN KR_DEVICE T* kr_buffer(KR_CONSTANT const DialectParams& params, uint32_t index) {
  return reinterpret_cast<KR_DEVICE T*>(params.buffers[index]);
}

// For what a threadgroup writes and another one of the same launch reads (see last_to_arrive).
template <class T>
KR_FN KR_COHERENT T* kr_coherent(KR_DEVICE T* pointer) {
  return (KR_COHERENT T*)pointer;  // NOLINT: Metal's named casts have no word for it
}

KR_FN float kr_f32(float value) {
  return value;
}

// A float's value for integers below 2^23; cheaper than a conversion on CUDA.
KR_FN float kr_small_f32(uint32_t value) {
  return kr_float_of_bits(value | 0x4b000000u) - 8388608.0f;
}

KR_FN uint32_t kr_min(uint32_t a, uint32_t b) {
  return b < a ? b : a;
}
KR_FN uint32_t kr_ceil_div(uint32_t a, uint32_t b) {
  return (a + b - 1) / b;
}

}  // namespace krserve::kernels
