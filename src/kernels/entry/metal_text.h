// The text of the Metal kernels as cmake/flatten_metal.cmake has embedded it.
#pragma once

#include <span>
#include <string_view>

namespace krserve::kernels::metal {

// In order; each begins with a #line that names its file.
std::span<const std::string_view> library_pieces();

}  // namespace krserve::kernels::metal
