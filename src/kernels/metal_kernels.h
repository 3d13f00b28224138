// Metal's kernels: their text, their names, and from recorded dispatches to launches.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/gpu_launch.h"

namespace krserve::kernels::metal {

// An MTLLanguageVersion: major << 16 | minor.
constexpr uint32_t language_version(uint32_t major, uint32_t minor) {
  return major << 16 | minor;
}
// The oldest that library_text() compiles with: macOS 14.
inline constexpr uint32_t kOldestLanguage = language_version(3, 1);
// The oldest with an order between the threadgroups of one launch: macOS 15.
inline constexpr uint32_t kHandOverLanguage = language_version(3, 2);

// All kernels in the Metal Shading Language, for newLibraryWithSource; it includes <metal_stdlib>
// alone. The math mode must be "safe": NaNs and infinities count, and a sum has one order.
std::string library_text();

// The names of the functions in library_text(). A kernel's place here is its number.
std::span<const char* const> kernel_names();

// What the choice of launches depends on.
struct GpuFacts {
  uint32_t language = kHandOverLanguage;  // that the library was compiled with
  // Simdgroup matrices: MTLGPUFamilyApple7, M1, and later. Without them rows of prompts take the
  // matmul of all others.
  bool matrices = true;
};

// A launch's DialectParams begin at a multiple of this in the buffer that holds those of all.
inline constexpr uint32_t kParamsStride = 256;

// One dispatchThreadgroups: `params` at buffer index 0 and nothing else bound. The GPU addresses in
// it must be resident.
struct Launch {
  uint32_t kernel = 0;    // number
  const char* name = "";  // for error messages and profiles
  Dim3 grid;              // threadgroups
  uint32_t threads = 0;   // of a threadgroup
  // Waits for all launches before it; without it, it may run beside them.
  bool barrier_before = false;
  // A measure of its time beside others': multiply-adds of a matmul, else some for each thread.
  double work = 0;
  DialectParams params = {};
};
static_assert(sizeof(DialectParams) <= kParamsStride);

// Device memory that the launches of these dispatches need beside their buffers, at an address
// aligned to 16. It must be zero when it is new; launches leave the parts that must be zero so.
// Both throw single_source::UnsupportedDispatch.
uint64_t workspace_bytes(std::span<const GpuDispatch> dispatches, const GpuFacts& facts);

// A launch for each of the dispatches, two for a matmul with kMatmulPrompts; the dispatches follow
// each other without copies or fills in between.
// `workspace` and the buffers of the dispatches are GPU addresses. The first launch must wait for
// what used the workspace before.
std::vector<Launch> plan_launches(std::span<const GpuDispatch> dispatches, const GpuFacts& facts,
                                  void* workspace);

// Of any length above 0 and any alignment; `to` and `from` are GPU addresses. No barrier before.
Launch copy_launch(uint64_t to, uint64_t from, uint64_t bytes);
Launch fill_launch(uint64_t to, uint8_t value, uint64_t bytes);

}  // namespace krserve::kernels::metal
