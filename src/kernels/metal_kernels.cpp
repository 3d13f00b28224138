#include "kernels/metal_kernels.h"

#include <cassert>

#include "kernels/entry/metal_kernels.h"
#include "kernels/entry/metal_text.h"

namespace krserve::kernels {

namespace {

#define KR_HANDLE(name) #name
constexpr const char* kNames[] = {KR_ALL_KERNELS};
#undef KR_HANDLE
static_assert(std::size(kNames) == single_source::kKernelCount);

}  // namespace

const void* metal_dialect_kernel(single_source::KernelId id) {
  assert(id < single_source::KernelId::kKernelCount);
  return &kNames[static_cast<uint32_t>(id)];
}

namespace metal {

std::string library_text() {
  std::string text;
  for (const std::string_view piece : library_pieces()) text += piece;
  return text;
}

std::span<const char* const> kernel_names() {
  return kNames;
}

uint32_t kernel_number(const GpuLaunch& launch) {
  const auto number = static_cast<const char* const*>(launch.kernel) - kNames;
  assert(number >= 0 && number < static_cast<std::ptrdiff_t>(std::size(kNames)));
  return static_cast<uint32_t>(number);
}

}  // namespace metal

}  // namespace krserve::kernels
