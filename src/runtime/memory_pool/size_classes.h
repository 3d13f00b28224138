// Size classes of small blocks: every granule up to 16, then eight for each power of two, so that
// rounding up wastes at most an eighth.
#pragma once

#include <bit>
#include <cstdint>

namespace krserve::runtime {

// Blocks of at most so many granules have classes: 256 KiB with 64-byte granules.
inline constexpr uint64_t kCachedGranules = 4096;
inline constexpr uint32_t kSizeClasses = 80;

// The class of the smallest blocks that hold `granules`, which is 1..kCachedGranules.
constexpr uint32_t size_class_of(uint64_t granules) {
  if (granules <= 16) return static_cast<uint32_t>(granules - 1);
  const auto log2 = static_cast<uint32_t>(std::bit_width(granules - 1) - 1);
  const uint64_t eighths = ((granules - 1) >> (log2 - 3)) - 8;
  return 16 + (log2 - 4) * 8 + static_cast<uint32_t>(eighths);
}

constexpr uint64_t granules_of_class(uint32_t size_class) {
  if (size_class < 16) return size_class + 1;
  const uint32_t log2 = 4 + (size_class - 16) / 8;
  return uint64_t{8 + (size_class - 16) % 8 + 1} << (log2 - 3);
}

static_assert(size_class_of(kCachedGranules) == kSizeClasses - 1);
static_assert(granules_of_class(kSizeClasses - 1) == kCachedGranules);

}  // namespace krserve::runtime
