// What passes between a GPU back end and its kernels: dispatches as a command buffer recorded them,
// and the launches that they become. Plain data, without a vendor's headers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/ops/ops.h"

namespace krserve::kernels {

struct Dim3 {
  uint32_t x = 1;
  uint32_t y = 1;
  uint32_t z = 1;
};

// Device addresses and sizes of the bound views, in the op's order; unbound ones are null and 0.
struct GpuDispatch {
  ops::Op op = ops::Op::kOpCount;
  bool barrier_before = false;  // sees the results of all dispatches before it
  alignas(16) std::byte args[ops::kMaxArgsBytes] = {};
  void* buffers[ops::kMaxBuffers] = {};
  uint64_t bytes[ops::kMaxBuffers] = {};

  template <class T>
  const T& args_as() const {
    return *reinterpret_cast<const T*>(args);
  }
};

// The one parameter of every kernel of the dialect, by value.
struct DialectParams {
  alignas(16) std::byte args[ops::kMaxArgsBytes];
  void* buffers[ops::kMaxBuffers];
};

// Most bytes of a kernel's parameter.
inline constexpr uint32_t kMaxParamsBytes = 1024;

// One launch; launches run one after the other, each sees the results of those before.
struct GpuLaunch {
  const void* kernel = nullptr;  // the back end's handle (CUDA: address of the __global__ function)
  const char* name = "";         // for error messages and profiles
  Dim3 grid;                     // threadgroups
  Dim3 block;                    // threads of a threadgroup
  uint32_t shared_bytes = 0;     // dynamic threadgroup memory
  // May begin while the launch before is still running: it waits itself before it reads results.
  bool overlaps_previous = false;
  uint32_t params_bytes = 0;
  alignas(16) std::byte params[kMaxParamsBytes] = {};
};

}  // namespace krserve::kernels
