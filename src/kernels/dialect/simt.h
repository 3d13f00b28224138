// The dialect on the host: a threadgroup's threads are fibers of one OS thread, its simdgroups move
// in lock step at SIMD operations, and a seed decides who runs when.
//
// What a GPU would punish by hanging, or by being wrong once in a while, ends in a SimtError.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>

#include "kernels/gpu_launch.h"

#define KR_DEVICE
#define KR_CONSTANT
#define KR_TG
#define KR_THREAD
#define KR_COHERENT
#define KR_FN inline
#define KR_UNROLL
#define KR_UNROLL_BY(n)
#define KR_SHARED(T, name, count) \
  auto* const name = ::krserve::kernels::simt::shared_array<T>(#name, count)
// A kernel of at most `threads` threads; its statements, without braces around them, see `params`
// and `self`. &name is its
// handle for GpuLaunch::kernel.
#define KR_KERNEL(name, threads, ...)                                        \
  inline void name##_thread(const ::krserve::kernels::DialectParams& params, \
                            const ::krserve::kernels::KrThread& self) {      \
    static_cast<void>(params);                                               \
    static_cast<void>(self);                                                 \
    __VA_ARGS__                                                              \
  }                                                                          \
  inline constexpr ::krserve::kernels::SimtKernel name{#name, threads, name##_thread};

namespace krserve::kernels {

// Where a thread is in its threadgroup, and the threadgroup in the grid.
struct KrThread {
  uint32_t group_x, group_y, group_z;
  uint32_t groups_x, groups_y, groups_z;
  uint32_t index;  // in the threadgroup
  uint32_t count;  // threads of the threadgroup, a multiple of 32
  uint32_t lane, simd, simds;
};

struct SimtKernel {
  const char* name;
  uint32_t max_threads;
  void (*run)(const DialectParams& params, const KrThread& self);
};

enum class SimtFault {
  kBarrierDivergence,  // a barrier that not all threads of the threadgroup reach
  kSimdDivergence,     // a SIMD operation that not all lanes reach, or different ones at once
  kSharedOverrun,      // a write outside a threadgroup array
  kSharedLimit,        // more threadgroup memory than every device has
  kStackOverflow,
  kBadLaunch,
};

// Not an Error of base/: kernels/ leans on nothing, and only tests launch here.
class SimtError : public std::runtime_error {
 public:
  SimtError(SimtFault fault, const std::string& what) : std::runtime_error(what), fault_(fault) {}
  SimtFault fault() const { return fault_; }

 private:
  SimtFault fault_;
};

// Runs a launch whose `kernel` is a SimtKernel and whose params are DialectParams. The seed orders
// threadgroups, simdgroups and lanes. Throws SimtError.
void simt_launch(const GpuLaunch& launch, uint64_t seed);

namespace simt {

inline constexpr uint32_t kMaxSharedBytes = 32 * 1024;  // Metal's limit, the smallest
inline constexpr uint32_t kPoison = 0xffcbffcb;         // a NaN as f32, f16 and bf16

enum class SimdOp : uint8_t {
  kBarrier,
  kShuffleXor,
  kShuffleUp,
  kSumF32,
  kMaxF32,
  kSumU32,
  kMaxU32,
  kMinU32,
  kSumU64,
  kMatrixFill,
  kMatrixLoad,
  kMatrixStore,
  kMatrixMultiplyAdd,
};

// A place in a kernel's source.
struct Site {
  const char* file;
  uint32_t line;
};

void* shared_memory(const char* name, size_t bytes);
template <class T>
T* shared_array(const char* name, size_t count) {
  return static_cast<T*>(shared_memory(name, count * sizeof(T)));
}
void barrier(Site site);
uint64_t simd_op(SimdOp op, uint64_t value, uint32_t operand, Site site);

template <class To, class From>
To bits_as(From from) {
  To to{};
  std::memcpy(&to, &from, sizeof(from) < sizeof(to) ? sizeof(from) : sizeof(to));
  return to;
}

template <class T>
T simd_op_of(SimdOp op, T value, uint32_t operand, const char* file, uint32_t line) {
  return bits_as<T>(simd_op(op, bits_as<uint64_t>(value), operand, {file, line}));
}

float half_to_f32(uint16_t half);
uint16_t f32_to_half(float value);
uint16_t f32_to_bfloat(float value);

}  // namespace simt

// A lane's share of a simdgroup's 8 x 8 floats. Which elements they are differs from launch to
// launch: a kernel has only the functions below.
class kr_matrix8x8 {
 public:
  float& of_emulator(uint32_t index) { return elements_[index]; }
  float of_emulator(uint32_t index) const { return elements_[index]; }

 private:
  float elements_[2] = {simt::bits_as<float>(simt::kPoison), simt::bits_as<float>(simt::kPoison)};
};

namespace simt {

void matrix_fill(kr_matrix8x8& matrix, float value, Site site);
void matrix_load(kr_matrix8x8& matrix, const float* from, uint32_t stride, bool transposed,
                 Site site);
void matrix_store(const kr_matrix8x8& matrix, float* to, uint32_t stride, Site site);
void matrix_multiply_add(kr_matrix8x8& sum, const kr_matrix8x8& a, const kr_matrix8x8& b,
                         Site site);

}  // namespace simt

enum class kr_half : uint16_t {};
enum class kr_bfloat : uint16_t {};
struct alignas(16) kr_uint4 {
  uint32_t x, y, z, w;
};
struct alignas(16) kr_float4 {
  float x, y, z, w;
};

// The site of an operation is that of the call: these are never passed.
#define KR_SITE const char *file = __builtin_FILE(), uint32_t line = __builtin_LINE()

inline void kr_barrier(KR_SITE) {
  simt::barrier({file, line});
}
inline void kr_shared_barrier(KR_SITE) {
  simt::barrier({file, line});
}
inline void kr_simd_barrier(KR_SITE) {
  simt::simd_op(simt::SimdOp::kBarrier, 0, 0, {file, line});
}
inline void kr_device_fence() {}

template <class T>
T kr_shuffle_xor(T value, uint32_t mask, KR_SITE) {
  return simt::simd_op_of(simt::SimdOp::kShuffleXor, value, mask, file, line);
}
// The value of the lane `delta` below; the lanes below `delta` keep theirs.
template <class T>
T kr_shuffle_up(T value, uint32_t delta, KR_SITE) {
  return simt::simd_op_of(simt::SimdOp::kShuffleUp, value, delta, file, line);
}
inline float kr_simd_sum(float value, KR_SITE) {
  return simt::simd_op_of(simt::SimdOp::kSumF32, value, 0, file, line);
}
inline float kr_simd_max(float value, KR_SITE) {
  return simt::simd_op_of(simt::SimdOp::kMaxF32, value, 0, file, line);
}
inline uint32_t kr_simd_sum(uint32_t value, KR_SITE) {
  return simt::simd_op_of(simt::SimdOp::kSumU32, value, 0, file, line);
}
inline uint32_t kr_simd_max(uint32_t value, KR_SITE) {
  return simt::simd_op_of(simt::SimdOp::kMaxU32, value, 0, file, line);
}
inline uint32_t kr_simd_min(uint32_t value, KR_SITE) {
  return simt::simd_op_of(simt::SimdOp::kMinU32, value, 0, file, line);
}
inline uint64_t kr_simd_sum(uint64_t value, KR_SITE) {
  return simt::simd_op_of(simt::SimdOp::kSumU64, value, 0, file, line);
}

inline void kr_matrix_fill(kr_matrix8x8& matrix, float value, KR_SITE) {
  simt::matrix_fill(matrix, value, {file, line});
}
inline void kr_matrix_load(kr_matrix8x8& matrix, const float* from, uint32_t stride,
                           bool transposed, KR_SITE) {
  simt::matrix_load(matrix, from, stride, transposed, {file, line});
}
inline void kr_matrix_store(const kr_matrix8x8& matrix, float* to, uint32_t stride, KR_SITE) {
  simt::matrix_store(matrix, to, stride, {file, line});
}
inline void kr_matrix_multiply_add(kr_matrix8x8& sum, kr_matrix8x8& a, kr_matrix8x8& b, KR_SITE) {
  simt::matrix_multiply_add(sum, a, b, {file, line});
}
#undef KR_SITE

// Relaxed; the former value. Fibers share an OS thread, so nothing comes between.
inline uint32_t kr_atomic_add(uint32_t* at, uint32_t value) {
  const uint32_t former = *at;
  *at = former + value;
  return former;
}

inline float kr_float_of_bits(uint32_t bits) {
  return simt::bits_as<float>(bits);
}
inline uint32_t kr_bits_of_float(float value) {
  return simt::bits_as<uint32_t>(value);
}

inline float kr_f32(kr_half value) {
  return simt::half_to_f32(static_cast<uint16_t>(value));
}
inline float kr_f32(kr_bfloat value) {
  return kr_float_of_bits(static_cast<uint32_t>(value) << 16);
}
inline kr_half kr_h16(float value) {
  return static_cast<kr_half>(simt::f32_to_half(value));
}
inline kr_bfloat kr_bf16(float value) {
  return static_cast<kr_bfloat>(simt::f32_to_bfloat(value));
}

inline float kr_fma(float a, float b, float c) {
  return std::fma(a, b, c);
}
inline float kr_exp(float value) {
  return std::exp(value);
}
inline float kr_rsqrt(float value) {
  return 1.0f / std::sqrt(value);
}
inline float kr_divide(float a, float b) {
  return a / b;
}
inline float kr_fmax(float a, float b) {
  return std::fmax(a, b);
}
inline float kr_infinity() {
  return kr_float_of_bits(0x7f800000u);
}

template <class T>
uint64_t kr_address(T* pointer) {
  return reinterpret_cast<uintptr_t>(pointer);
}
template <class T>
T* kr_pointer(uint64_t address) {
  return reinterpret_cast<T*>(static_cast<uintptr_t>(address));
}

}  // namespace krserve::kernels
