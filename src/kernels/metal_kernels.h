// Metal's kernels: their text, their names, and how a launch names one.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "kernels/gpu_launch.h"

namespace krserve::kernels::metal {

// Least MTLLanguageVersion that library_text() compiles with, and the least with which threadgroups
// of one launch may hand results to each other; as major << 16 | minor.
inline constexpr uint32_t kLeastLanguageVersion = 3u << 16 | 1;
inline constexpr uint32_t kHandOverLanguageVersion = 3u << 16 | 2;

// All kernels in the Metal Shading Language, for newLibraryWithSource; it includes <metal_stdlib>
// alone. The math mode must be "safe": NaNs and infinities count, and a sum has one order.
std::string library_text();

// The names of the functions in library_text(). A kernel's place here is its number.
std::span<const char* const> kernel_names();

// The number of the launch's kernel.
uint32_t kernel_number(const GpuLaunch& launch);

}  // namespace krserve::kernels::metal
